package main

import (
	"os"

	"github.com/tunhook/tunhook/hook"
)

// openPage is tunhook under the name of a command that opens a page in a browser, as tunnel programs find it. It needs
// none of the directories that the other commands need, and works whatever the tunnel program has made of its
// environment.
func (c *command) openPage(opener string, args []string) int {
	self, _ := os.Executable() // where that is not known, a mark in the environment keeps it from calling itself for ever
	status, err := hook.OpenPage(c.environ, self, opener, args, c.ui.stdout, c.ui.stderr, hook.PageTaken)
	if err != nil {
		c.ui.failure(err)
	}
	return status
}
