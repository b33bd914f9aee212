package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tunhook/tunhook/tunnel"
	"github.com/tunhook/tunhook/tunnel/tunneltest"
)

// What the README calls the machine and the address of its route.
const (
	readmeHost    = "desk.corp.example.com"
	readmeAddress = "127.165.26.138"
)

// shownCommand is a command of the README with what it shows of the output.
type shownCommand struct {
	text  string
	shows []string
}

var (
	section = regexp.MustCompile(`(?m)^## `)
	console = regexp.MustCompile("(?ms)^```console\n(.*?)^```$")
)

// readmeSections gives the commands of each section of the README that has some, by its title.
func readmeSections(t *testing.T) map[string][]shownCommand {
	t.Helper()
	sections := map[string][]shownCommand{}
	for _, text := range section.Split(document(t, "README.md"), -1) {
		title, _, _ := strings.Cut(text, "\n")
		for _, block := range console.FindAllStringSubmatch(text, -1) {
			for line := range strings.Lines(block[1]) {
				line = strings.TrimSuffix(line, "\n")
				commands := sections[title]
				if command, ok := strings.CutPrefix(line, "$ "); ok {
					sections[title] = append(commands, shownCommand{text: command})
				} else {
					last := &commands[len(commands)-1]
					last.shows = append(last.shows, line)
				}
			}
		}
	}
	return sections
}

// newReader is an account in which everything of the README is there, for a machine that no other test has.
func newReader(t *testing.T) (d desk, host string) {
	t.Helper()
	d, host = newDesk(t, "1.4.43"), fmt.Sprintf("desk-%d.corp.example.com", rand.Uint32())
	server, err := tunneltest.StartResponder(tunneltest.ResponderOptions{})
	check(t, err)
	t.Cleanup(func() { _ = server.Close() })
	d.startGateway(tunneltest.GatewayOptions{Routes: map[string]string{host + ":3389": server.Addr()}})
	script, err := os.ReadFile("../../scripts/xfreerdp-tunnel")
	check(t, err)
	fakeProgram(t, filepath.Join(d.dir, "bin", "xfreerdp-tunnel"), string(script))
	fakeProgram(t, filepath.Join(d.dir, "bin", "xfreerdp"), "#!/bin/bash\nexec 3<>\"/dev/tcp/$TUNHOOK_HOST/$TUNHOOK_PORT\"\n")
	d.profile(nativeProfiles, "desk.remmina", "[remmina]\nname=My desk\nprotocol=RDP\nserver="+host+":3389\n")
	d.profile(nativeProfiles, "old.remmina", "[remmina]\nname=Old desk\nprotocol=RDP\nserver=localhost:3389\n"+
		"precommand=/x/t.sh start "+host+":3389 localhost:3389\npostcommand=/x/t.sh stop "+host+":3389 localhost:3389\n")
	return d, host
}

// follow runs commands of the README as they stand there, but for the name of the machine, and looks for what it shows of them.
func (d desk) follow(host string, commands []shownCommand) {
	d.t.Helper()
	address := regexp.MustCompile(`127\.\d+\.\d+\.\d+`)
	plain := func(text string) string { return strings.Join(strings.Fields(text), " ") }
	for _, c := range commands {
		cmd := exec.Command("/bin/sh", "-c", strings.ReplaceAll(c.text, readmeHost, host))
		cmd.Env, cmd.Dir = d.environ, d.dir
		e := d.finish(cmd)
		if e.status != 0 {
			d.t.Fatalf("%s: %+v", c.text, e)
		}
		said := plain(address.ReplaceAllString(strings.ReplaceAll(e.stdout+e.stderr, host, readmeHost), readmeAddress))
		for _, line := range c.shows {
			if !strings.Contains(said, plain(line)) {
				d.t.Errorf("%s: the README shows\n%s\nand it says\n%s", c.text, line, said)
			}
		}
	}
}

// TestEveryCommandOfTheReadmeRuns one section after the other, as somebody would who reads it, and says what it shows.
func TestEveryCommandOfTheReadmeRuns(t *testing.T) {
	t.Parallel()
	sections := readmeSections(t)
	if len(sections) < 5 {
		t.Errorf("there are commands in %d sections", len(sections))
	}
	for title, commands := range sections {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			d, host := newReader(t)
			if title == "Uninstall" { // of what the other sections have enabled
				d.follow(host, sections["Remmina"])
			}
			d.follow(host, commands)
			d.do("disable", "--all", "--now")
			d.nothingRuns()
		})
	}
}

// TestAddressOfTheReadmeIsTheRoutes: whoever types what stands there gets what stands there.
func TestAddressOfTheReadmeIsTheRoutes(t *testing.T) {
	t.Parallel()
	route, err := tunnel.LoadConfig().Route(readmeHost + ":3389")
	check(t, err)
	listen, err := route.ParseListen("stable")
	check(t, err)
	if got := listen.String(); got != readmeAddress+":3389" {
		t.Errorf("the address is %s", got)
	}
	for _, name := range []string{"README.md", "packaging/tunhook.1"} {
		for _, m := range regexp.MustCompile(`127\.[1-9]\d*\.\d+\.\d+:3389`).FindAllString(document(t, name), -1) {
			if m != readmeAddress+":3389" {
				t.Errorf("%s has the address %s", name, m)
			}
		}
	}
}
