package tunnel

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A tunnel program opens a browser to have somebody sign in. Where none runs yet, that browser is a child of the tunnel program
// and in its session, and would end with the tunnel, with everything the user has opened in it since. So the programs that open
// a page are found, by a tunnel program, in a directory of links to tunhook, which starts the real one in a session of its own.

// browserOpeners are the commands that programs open a page with, or that users name for it: those of xdg-utils, Debian's
// alternatives and WSL, then browsers.
var browserOpeners = []string{
	"xdg-open", "x-www-browser", "www-browser", "sensible-browser", "wslview",
	"firefox", "firefox-esr", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "brave-browser", "microsoft-edge",
	"brave", "google-chrome-beta", "microsoft-edge-stable", "vivaldi", "vivaldi-stable", "opera", "librewolf", "epiphany",
	"epiphany-browser", "konqueror", "falkon", "exo-open", "kde-open", "kde-open5",
}

// BrowserOpeners are the commands that can open a page, in the order in which they are to be tried.
func BrowserOpeners() []string { return slices.Clone(browserOpeners) }

// IsBrowserOpener tells whether a program that is called so shall open a page.
func IsBrowserOpener(name string) bool { return slices.Contains(browserOpeners, name) }

// OpensByName tells whether the tunnel program, by its command line, opens a page with one of those commands, which it looks for on
// PATH. A script may say so, and have another one in it.
func (p *Provider) OpensByName(argv []string) bool {
	if p.Opener == nil || isScript(argv[p.relayed(argv)]) {
		return false
	}
	for i, word := range argv {
		option, value, given := strings.Cut(word, "=")
		if !slices.Contains(p.Opener, option) {
			continue
		}
		if !given && i+1 < len(argv) {
			value = argv[i+1]
		}
		if value != "" && !IsBrowserOpener(value) {
			return false
		}
	}
	return true
}

// isScript tells whether a file names the program that executes it, execve(2), or cannot be read.
func isScript(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return true
	}
	defer file.Close()
	var begins [2]byte
	_, err = io.ReadFull(file, begins[:])
	return err != nil || string(begins[:]) == "#!"
}

func checkOpener(options []string) error {
	for _, option := range options {
		if !strings.HasPrefix(option, "-") || strings.Contains(option, "=") {
			return keyErrorf("opener", "%s is no option: write it with its dashes, and without a value", quote(option))
		}
	}
	return nil
}

// LinkBrowserOpeners sees to it that dir, which exists, holds links to tunhook under the names of those commands that are on path
// too, as they are now: programs look for the first one that is there.
func LinkBrowserOpeners(dir, tunhook, path string) error {
	for _, name := range browserOpeners {
		link := filepath.Join(dir, name)
		if !onPath(name, path) {
			_ = unix.Unlink(link)
			continue
		}
		if err := replaceLink(link, tunhook); err != nil {
			return err
		}
	}
	return replaceLink(filepath.Join(dir, "tunhook"), tunhook)
}

// onPath tells whether FindProgram finds a program. A start asks for very many that are not there: access(2) is the quickest way to be
// told so.
func onPath(name, path string) bool {
	for dir := range strings.SplitSeq(path, string(filepath.ListSeparator)) {
		if unix.Access(dir+"/"+name, unix.X_OK) == nil {
			_, err := FindProgram(name, path)
			return err == nil
		}
	}
	return false
}

// replaceLink renames the link into place, where it is not there yet: a tunnel program may be looking for it.
func replaceLink(link, target string) error {
	if old, err := os.Readlink(link); err == nil && old == target {
		return nil
	}
	fresh := link + ".new"
	if err := os.Symlink(target, fresh); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := os.Rename(fresh, link); err != nil && !errors.Is(err, fs.ErrNotExist) { // another start was quicker
		return err
	}
	return nil
}

// FirstOnPath returns environ with dir at the front of PATH.
func FirstOnPath(environ []string, dir string) []string {
	return setPath(environ, func(path string) string { return dir + string(filepath.ListSeparator) + path })
}

// WithoutBrowserLinks returns environ without the directories on PATH that hold such links, whoever made them and
// however they are written. They are told by what is in them: a tunnel program may have changed HOME and all else that
// says where they are.
func WithoutBrowserLinks(environ []string) []string {
	return setPath(environ, func(path string) string {
		dirs := slices.DeleteFunc(filepath.SplitList(path), holdsBrowserLinks)
		return strings.Join(dirs, string(filepath.ListSeparator))
	})
}

// holdsBrowserLinks tells whether the tunhook in dir goes by the name of a command that opens a page there, too.
func holdsBrowserLinks(dir string) bool {
	tunhook, err := os.Stat(filepath.Join(dir, "tunhook"))
	return err == nil && slices.ContainsFunc(browserOpeners, func(name string) bool {
		opener, err := os.Stat(filepath.Join(dir, name))
		return err == nil && os.SameFile(opener, tunhook)
	})
}

func setPath(environ []string, change func(string) string) []string {
	changed := slices.Clone(environ)
	for i, v := range changed {
		if path, ok := strings.CutPrefix(v, "PATH="); ok {
			changed[i] = "PATH=" + change(path)
		}
	}
	return changed
}
