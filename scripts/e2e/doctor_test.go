//go:build e2e

package e2e

import (
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
