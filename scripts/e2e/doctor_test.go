//go:build e2e

package e2e

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// doctorSays gives what a doctor says of one check, on one line.
func (u *user) doctorSays(check string, doctor ...string) string {
	u.t.Helper()
	var said []string
	in := false
	for line := range strings.Lines(u.run(doctor...).stdout) {
		fields := strings.Fields(line)
		if !strings.HasPrefix(line, " ") {
			in = len(fields) > 1 && fields[1] == check
		}
		if in {
			said = append(said, fields...)
		}
	}
	return strings.Join(said, " ")
}

// A Remmina that is tried is none of the user's, who works in one meanwhile.
func TestDoctorTriesRemmina(t *testing.T) {
	t.Parallel()
	server := startRDPServer(t)
	o := newHomeOffice(t)
	temporary := o.path("temporary")
	o.mkdir(temporary)
	o.extraEnv = append(o.extraEnv, "TMPDIR="+temporary)
	mine := o.connect(profile{name: "mine", server: server.address})
	o.waitForPicture(crimson, patience)
	files := []string{"/bin/sh", "-c", `cat "$@" | cksum`, "sh", o.nativeRemmina().data + "/mine.remmina", o.nativeRemmina().config + "/remmina.pref"}
	windows, before := o.windows("."), o.must(files...)

	want := "has run no command: its tunnels start by connection"
	if release().hooks {
		want = "has run a command: both ways work, by connection and by hook"
	}
	if got := o.doctorSays("remmina", o.tunhook, "doctor", "--try"); !strings.HasPrefix(got, "ok remmina Remmina 1.") || !strings.HasSuffix(got, want) {
		t.Errorf("doctor --try says: %s", got)
	}
	if after := o.windows("."); strings.Join(after, " ") != strings.Join(windows, " ") || !mine.alive() {
		t.Errorf("there were the windows %q, and there are %q", windows, after)
	}
	if after := o.must(files...); after != before {
		t.Error("the user's own profile or preferences were changed")
	}
	if left := o.running("trial.remmina"); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	if left := o.must("/usr/bin/find", temporary, "-mindepth", "1", "-name", "tunhook-*"); left != "" {
		t.Errorf("left: %s", left)
	}
	server.show(teal)
	o.waitForPicture(teal, patience)

	got := o.doctorSays("remmina", "/usr/bin/env", "--unset=DISPLAY", o.tunhook, "doctor", "--try")
	if !strings.HasPrefix(got, "note remmina Remmina 1.") || !strings.HasSuffix(got, "it could not be tried: there is no display") {
		t.Errorf("without a display doctor --try says: %s", got)
	}
}

// What is enabled by units of systemd's is put right where tunhook has moved, and where a unit was lost, and nobody is cut off.
func TestDoctorFixesUnits(t *testing.T) {
	t.Parallel()
	u, listen := newOrdinaryUser(t), freeAddress(t)
	old, program := u.path("old", "tunhook"), u.path("new", "tunhook")
	u.mkdir(filepath.Dir(old))
	u.mkdir(filepath.Dir(program))
	u.must("/usr/bin/cp", tunhookBinary(t), old)
	u.logInWithSystemd()
	u.must(old, "enable", "--linger", "1s", "relay://"+startEcho(t), listen)
	checkEcho(t, listen)

	u.must("/usr/bin/mv", old, program)
	if got := u.doctorSays("enabled", program, "doctor"); !strings.HasPrefix(got, "finding enabled "+listen) || !strings.Contains(got, "doctor --fix") {
		t.Errorf("moved, doctor says: %s", got)
	}
	if got := u.doctorSays("enabled", program, "doctor", "--fix"); !strings.HasPrefix(got, "fixed enabled "+listen) {
		t.Errorf("moved, doctor --fix says: %s", got)
	}
	eventually(t, patience, "the listener of before has ended", func() bool { return len(u.running(old)) == 0 })
	checkEcho(t, listen)

	session, err := net.Dial("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "its tunnel is up", func() bool { return strings.Contains(u.must(program, "status"), listen+"  ready") })
	units := u.path(".config", "systemd", "user")
	u.must("/bin/sh", "-c", `rm "$0"/*.socket "$0"/sockets.target.wants/*`, units)
	if got := u.doctorSays("enabled", program, "doctor", "--fix"); !strings.HasPrefix(got, "fixed enabled "+listen) {
		t.Errorf("without its socket, doctor --fix says: %s", got)
	}
	if got := u.doctorSays("enabled", program, "doctor"); got != "ok enabled 1 address can be connected to" {
		t.Errorf("after that doctor says: %s", got)
	}
	sayHello(t, session)
	u.logOut()

	u.logInWithSystemd()
	checkEcho(t, listen)
	u.must(program, "disable", "--now", "--all")
	if left := u.must("/usr/bin/find", u.path(".config"), "-name", "tunhook-*"); left != "" {
		t.Errorf("left: %s", left)
	}
}
