package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"

	"github.com/adrg/xdg"
	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/tunnel"
)

// dirs are the places of the XDG Base Directory Specification that tunhook uses.
type dirs struct {
	run       string
	runParent bool     // run lies in the user's runtime directory, which must be private as well
	otherRuns []string // where tunnels are recorded that were started where the environment says otherwise
	log       string
	config    []string // files, the most important last
}

// findDirs takes the places from the xdg package, which ignores relative paths, takes / for a missing HOME, and does not say
// so; here that is an error.
func (c *command) findDirs() (dirs, error) {
	for _, v := range []string{"XDG_STATE_HOME", "XDG_CONFIG_HOME"} {
		if err := c.absoluteOrUnset(v); err != nil {
			return dirs{}, err
		}
		if c.variable(v) != "" {
			continue
		}
		if home := c.variable("HOME"); home == "" {
			return dirs{}, usagef("HOME is not set, nor is %s: set HOME to your home directory", v)
		} else if !filepath.IsAbs(home) {
			return dirs{}, usagef("HOME is %q, which is not an absolute path: set it to your home directory", home)
		}
	}
	d := dirs{log: filepath.Join(xdg.StateHome, "tunhook", "log")}
	for _, dir := range slices.Backward(xdg.ConfigDirs) {
		d.config = append(d.config, filepath.Join(dir, "tunhook", "config.toml"))
	}
	d.config = append(d.config, filepath.Join(xdg.ConfigHome, "tunhook", "config.toml"))
	return d, c.findRunDir(&d)
}

func (c *command) findRunDir(d *dirs) error {
	if err := c.absoluteOrUnset("XDG_RUNTIME_DIR"); err != nil {
		return err
	}
	without := filepath.Join(xdg.StateHome, "tunhook", "run")
	usual := fmt.Sprintf("/run/user/%d", os.Geteuid()) // pam_systemd(8)
	d.otherRuns = []string{without, filepath.Join(usual, "tunhook")}
	if c.variable("XDG_RUNTIME_DIR") == "" && (runtime.GOOS != "linux" || !isOurs(xdg.RuntimeDir)) {
		d.run = without
		return nil
	}
	d.run, d.runParent = filepath.Join(xdg.RuntimeDir, "tunhook"), true
	return nil
}

// isOurs tells whether the usual runtime directory is there for us although no variable names it, as in a cron job: the tunnels
// of the user's desktop are recorded there.
func isOurs(dir string) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || info.Mode().Perm() != 0o700 {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

func (c *command) absoluteOrUnset(name string) error {
	if v := c.variable(name); v != "" && !filepath.IsAbs(v) {
		return usagef("%s is %q, which is not an absolute path: correct it, or unset it", name, v)
	}
	return nil
}

func (c *command) variable(name string) string { return tunnel.Getenv(c.environ, name) }

// hook puts together what the use cases need.
func (c *command) hook() (*hook.Env, error) {
	d, err := c.findDirs()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding out where tunhook is: %w", err)
	}
	return &hook.Env{
		Config:       func() *tunnel.Config { return tunnel.LoadConfig(d.config...) },
		RunDir:       d.run,
		RunParent:    d.runParent,
		OtherRunDirs: d.otherRuns,
		LogDir:       d.log,
		ConfigHome:   filepath.Clean(xdg.ConfigHome),
		Self:         self,
		Environ:      c.environ,
		Now:          now,
		Notice:       c.ui.notice,
		Waiting:      c.ui.waiting,
		SignIn:       c.ui.signIn,
		Quiet:        c.quiet,
		Guard:        c.signals.await,
	}, nil
}
