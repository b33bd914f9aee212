//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

const (
	sandboxApp     = "org.remmina.Remmina" // Flathub's id: an app may own its id on the bus
	sandboxRuntime = "org.example.Platform"

	// talkToHost is the permission to run programs on the host, which Flathub's Remmina
	// has; without it, everything is asked of a bus that does not know Flatpak.
	talkToHost = "--talk-name=org.freedesktop.Flatpak"
)

// The metadata of flatpak-metadata(5). The app may do what Flathub's Remmina may, apart
// from talkToHost.
const (
	runtimeMetadata = `[Runtime]
name=%[1]s
runtime=%[1]s/%[2]s/1
sdk=%[1]s/%[2]s/1
`
	appMetadata = `[Application]
name=%[3]s
runtime=%[1]s/%[2]s/1
command=sh

[Context]
shared=network;ipc;
sockets=x11;
filesystems=home;
`
)

// A sandbox is a Flatpak app that a user has installed for themselves.
type sandbox struct {
	desktop *desktop
}

// installSandbox makes and installs an app whose /usr holds busybox and flatpak-spawn,
// as far as the host's libraries go. fill adds more to the runtime's tree.
func (d *desktop) installSandbox(fill func(runtime string)) *sandbox {
	d.t.Helper()
	runtime, app := filepath.Join(d.dir, "runtime"), filepath.Join(d.dir, "app")
	repo := filepath.Join(d.dir, "repo")
	arch := strings.TrimSpace(d.must("/usr/bin/flatpak", "--default-arch"))

	d.fillRuntime(runtime)
	if fill != nil {
		fill(runtime)
	}
	d.mkdir(filepath.Join(runtime, "files"))
	d.write(filepath.Join(runtime, "metadata"), fmt.Sprintf(runtimeMetadata, sandboxRuntime, arch))
	d.mkdir(filepath.Join(app, "files"))
	d.mkdir(filepath.Join(app, "export"))
	d.write(filepath.Join(app, "metadata"), fmt.Sprintf(appMetadata, sandboxRuntime, arch, sandboxApp))

	d.makeRepo(repo)
	d.makeRepo(d.path(".local", "share", "flatpak", "repo"))
	d.must("/usr/bin/flatpak", "build-export", "--runtime", "--arch="+arch, repo, runtime, "1")
	d.must("/usr/bin/flatpak", "build-export", "--arch="+arch, repo, app, "1")
	d.must("/usr/bin/flatpak", "--user", "remote-add", "--no-gpg-verify", "here", repo)
	d.must("/usr/bin/flatpak", "--user", "install", "-y", "here", sandboxRuntime, sandboxApp)
	return &sandbox{desktop: d}
}

// makeRepo makes an OSTree repository that stores files as they are and leaves their
// way to the disk to the kernel. The one that flatpak itself would make compresses each
// and waits for each, which takes many times as long.
func (d *desktop) makeRepo(repo string) {
	d.t.Helper()
	d.write(filepath.Join(repo, "config"), "[core]\nrepo_version=1\nmode=bare-user-only\nfsync=false\n")
	for _, dir := range []string{"objects", "tmp", "state", "extensions", "refs/heads", "refs/mirrors", "refs/remotes"} {
		d.mkdir(filepath.Join(repo, dir))
	}
}

// fillRuntime puts into a runtime's usr what every sandbox here has: busybox under all
// its names, and flatpak-spawn, which the runtimes of Flathub have too.
func (d *desktop) fillRuntime(runtime string) {
	d.t.Helper()
	const spawn = "/usr/libexec/flatpak-xdg-utils/flatpak-spawn"
	bin := filepath.Join(runtime, "usr", "bin")
	d.mkdir(bin)
	d.copyProgram(runtime, "/usr/bin/busybox")
	d.copyProgram(runtime, spawn)
	d.must("/usr/bin/busybox", "--install", "-s", bin)
	if err := os.Symlink(spawn, filepath.Join(bin, "flatpak-spawn")); err != nil {
		d.t.Fatal(err)
	}
}

// installSandboxedRemmina makes and installs an app with the host's own Remmina in it:
// its libraries, its plugins and what GTK reads.
func (d *desktop) installSandboxedRemmina() *sandbox {
	d.t.Helper()
	needSandbox(d.t)
	return d.installSandbox(func(runtime string) {
		d.copyProgram(runtime, "/usr/bin/remmina")
		for _, pattern := range []string{
			"/usr/lib/*/remmina/plugins/*.so",
			"/usr/lib/*/gdk-pixbuf-2.0/*/loaders/*.so",
			"/usr/lib/*/ossl-modules/legacy.so", // MD4, for passwords
		} {
			for _, module := range d.glob(pattern) {
				d.copyProgram(runtime, module)
			}
		}
		d.copyTree(runtime, d.glob("/usr/lib/*/gdk-pixbuf-2.0/*/loaders.cache")...)
		d.copyTree(runtime, "/usr/share/remmina", "/usr/share/glib-2.0", "/usr/share/icons/hicolor",
			"/usr/share/mime", "/usr/share/fonts", "/usr/share/fontconfig", "/usr/share/X11",
			"/usr/lib/locale")
		d.mkdir(filepath.Join(runtime, "usr", "etc"))
		d.must("/usr/bin/cp", "--archive", "/etc/fonts", filepath.Join(runtime, "usr", "etc"))
	})
}

// libraryPath finds the files in what ldd(1) prints.
var libraryPath = regexp.MustCompile(`(/\S+) \(0x`)

// copyProgram copies a program or a library, and every library it needs, into a runtime.
func (d *desktop) copyProgram(runtime, program string) {
	d.t.Helper()
	files := []string{program}
	// Of a static program ldd says so, with status 1.
	for _, match := range libraryPath.FindAllStringSubmatch(d.run("/usr/bin/ldd", program).stdout, -1) {
		// Debian's /lib and /lib64 are links into /usr, as they are in a sandbox.
		files = append(files, "/usr/"+strings.TrimPrefix(strings.TrimPrefix(match[1], "/usr"), "/"))
	}
	d.must(append([]string{"/usr/bin/cp", "--dereference", "--parents", "--target-directory=" + runtime}, files...)...)
}

// copyTree copies files, links and directories to the same place in a runtime.
func (d *desktop) copyTree(runtime string, trees ...string) {
	d.t.Helper()
	d.must(append([]string{"/usr/bin/cp", "--recursive", "--no-dereference", "--parents", "--target-directory=" + runtime}, trees...)...)
}

func (d *desktop) glob(pattern string) []string {
	d.t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		d.t.Fatalf("nothing matches %s: run scripts/e2e-setup (%v)", pattern, err)
	}
	return files
}

// command returns the command line that runs a program in the sandbox, with permissions
// such as talkToHost.
func (s *sandbox) command(permissions []string, argv ...string) []string {
	command := append([]string{"/usr/bin/flatpak", "--user", "run"}, permissions...)
	return append(append(command, "--command="+argv[0], sandboxApp), argv[1:]...)
}

// kill ends the sandbox with all that runs in it, at once.
func (s *sandbox) kill() {
	s.desktop.t.Helper()
	s.desktop.must("/usr/bin/flatpak", "kill", sandboxApp)
}
