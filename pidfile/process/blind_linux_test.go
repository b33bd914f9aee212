package process

import (
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/tunhook/tunhook/pidfile/process/processtest"
	"golang.org/x/sys/unix"
)

// TestProcessesThatCannotBeLookedAtAreNotTakenForEnded looks at a live process, in a process that may open no more files, with a
// few to spare or none.
func TestProcessesThatCannotBeLookedAtAreNotTakenForEnded(t *testing.T) {
	t.Parallel()
	token := NewToken()
	program := inSession(processtest.Command(t, "sleep"))
	program.Env = append(program.Env, TokenVariable+"="+token)
	h := processtest.Start(t, program)
	h.Line(t)
	for spare := range 3 {
		blind := processtest.Start(t, processtest.Command(t, "blind", strconv.Itoa(spare), strconv.Itoa(h.PID()), token))
		if said := blind.Line(t); said != "proved" {
			t.Errorf("with %d files to spare: %s", spare, said)
		}
	}
}

func lookBlindly(args []string) error {
	spare, _ := strconv.Atoi(args[0])
	pid, _ := strconv.Atoi(args[1])
	id, err := Identify(pid)
	if err != nil {
		return err
	}
	if err := fillDescriptors(spare); err != nil {
		return err
	}
	fmt.Println(notGone(Session{Leader: id, Token: args[2]}))
	return nil
}

// fillDescriptors leaves so many descriptors to open.
func fillDescriptors(spare int) error {
	lowest, err := unix.Dup(0)
	if err != nil {
		return err
	}
	if err := unix.Close(lowest); err != nil {
		return err
	}
	limit := uint64(lowest + spare)
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: limit})
}

// notGone tells what is wrong, or "proved".
func notGone(rec Session) string {
	if !rec.Leader.Alive() {
		return "the program counts as ended"
	}
	if _, err := Identify(rec.Leader.PID); errors.Is(err, ErrGone) {
		return "identified as gone"
	}
	if p, err := Open(rec.Leader); errors.Is(err, ErrGone) {
		return "opened as gone"
	} else if err == nil {
		p.Close()
	}
	if found, err := rec.Members(nil); err == nil && len(found) == 0 {
		return "it has no members"
	} else {
		closeAll(found)
	}
	unknown := Session{Token: rec.Token}
	if found, err := unknown.Members(nil); err == nil && len(found) == 0 {
		return "nobody has the token"
	} else {
		closeAll(found)
	}
	if _, err := unknown.Adopt(); errors.Is(err, ErrGone) {
		return "nobody to adopt"
	}
	return "proved"
}
