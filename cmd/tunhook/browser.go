package main

// openPage is tunhook under the name of a command that opens a page in a browser, as tunnel programs find it.
func (c *command) openPage(opener string, args []string) int {
	h, err := c.hook()
	if err != nil {
		c.ui.failure(err)
		return exitUnexpected
	}
	return h.OpenPage(opener, args, c.ui.stdout, c.ui.stderr)
}
