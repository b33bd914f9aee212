package remmina

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParserKnowsWhatGLibRefuses(t *testing.T) {
	const start = "[remmina]\nname=Desk\n"
	for name, tc := range map[string]struct {
		data string
		want string // what the error says; "" where GLib takes the file
	}{
		"least profile":              {start, ""},
		"name last, unfinished":      {"[remmina]\nname=", ""},
		"translated key":             {start + "name[de_DE.UTF-8@euro]=Tisch\n", ""},
		"vertical tab is no blank":   {start + "\vserver=x\n", ""},
		"blank after the group":      {"[remmina] \t\r\nname=Desk\n", ""},
		"empty":                      {"", "no [remmina] group"},
		"only comments":              {"# [remmina]\n#name=Desk\n", "no [remmina] group"},
		"no name":                    {"[remmina]\nserver=x\n", "no name="},
		"name in another group":      {"[remmina]\n[other]\nname=Desk\n", "no name="},
		"key before any group":       {"name=Desk\n[remmina]\nname=Desk\n", "line 1 "},
		"byte order mark":            {"\ufeff[remmina]\nname=Desk\n", "line 1 "},
		"no equals sign":             {start + "\nserver\n", "line 4 "},
		"semicolon is no comment":    {start + ";server=x\nserver\n", "line 4 "},
		"no key":                     {start + "=x\n", "line 3 "},
		"key with an open bracket":   {start + "server[de=x\n", "line 3 "},
		"key with a closing bracket": {start + "server]=x\n", "line 3 "},
		"empty locale":               {start + "server[]=x\n", ""},
		"blank in the locale":        {start + "server[de DE]=x\n", "line 3 "},
		"blank before the locale":    {start + "server [de]=x\n", "line 3 "},
		"text after the group":       {start + "[other]x\n", "line 3 "},
		"group with a bracket":       {start + "[ot[her]\n", "line 3 "},
		"group without a name":       {start + "[]\n", "line 3 "},
		"group not closed":           {start + "[other\n", "line 3 "},
		"group with a tab":           {start + "[ot\ther]\n", "line 3 "},
		"NUL":                        {start + "server=a\x00b\n", "line 3 "},
		"another encoding":           {"[remmina]\nEncoding=latin1\nname=Desk\n", "line 2 "},
		"carriage returns only":      {"[remmina]\rname=Desk\r", "line 1 "},
	} {
		t.Run(name, func(t *testing.T) {
			err := parseKeyFile(tc.data).err()
			if tc.want == "" && err != nil {
				t.Errorf("refused: %v", err)
			}
			if tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

// FuzzParserLosesNothing also enables and disables whatever Remmina would open.
func FuzzParserLosesNothing(f *testing.F) {
	paths, err := filepath.Glob("testdata/*.remmina")
	if err != nil || len(paths) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Fuzz(func(t *testing.T, data string) {
		keys := parseKeyFile(data)
		if got := keys.String(); got != data {
			t.Fatalf("parsed and joined: %q", got)
		}
		enabled, err := keys.enabled()
		if keys.err() != nil || err != nil || enabled || keys.undoable() != nil {
			return
		}
		server, start, stop := "127.83.12.9:3389", "tunhook start", "tunhook stop"
		values := [managedKeys]*string{&server, &start, &stop}
		if len(data)%2 == 0 {
			values[1], values[2] = nil, new(string)
		}
		keys.enable("desk:3389", values)
		written := parseKeyFile(keys.String())
		if err := written.err(); err != nil {
			t.Fatalf("enabled, it is no profile any more: %v", err)
		}
		if enabled, err := written.enabled(); !enabled || err != nil {
			t.Fatalf("enabled() = %v, %v", enabled, err)
		}
		if now := written.text("server"); now != server {
			t.Fatalf("server is %q", now)
		}
		if way := written.way(); (way == ByHook) != (values[1] == &start) {
			t.Fatalf("enabled %s", way)
		}
		written.disable()
		if got := written.String(); got != data {
			t.Fatalf("enabled and disabled: %q", got)
		}
	})
}
