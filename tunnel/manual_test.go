package tunnel

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// manualSection is a section of the manual page of the configuration, up to the next one.
func manualSection(t *testing.T, title string) string {
	t.Helper()
	text, err := os.ReadFile("../packaging/tunhook.toml.5")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n.Sh "+title+"\n")
	if !ok {
		t.Fatalf("the manual page has no section %s", title)
	}
	section, _, _ = strings.Cut(section, "\n.Sh ")
	return section
}

// tagged are the items of a list in the manual page, in their order.
var (
	tagged  = regexp.MustCompile(`(?m)^\.It Li (.*)$`)
	keyOf   = regexp.MustCompile(`^([a-z_]+)(?: = |$)`)
	innerOf = regexp.MustCompile(`[{,] ([a-z]+) = `)
)

// TestEveryKeyIsInTheManual where its table is described, and no other key is.
func TestEveryKeyIsInTheManual(t *testing.T) {
	t.Parallel()
	inner := map[string]reflect.Type{"errors": reflect.TypeFor[ErrorPattern](), "list": reflect.TypeFor[Listing]()}
	for title, table := range map[string]reflect.Type{
		"[tunnel.NAME] TABLES":   reflect.TypeFor[Named](),
		"[provider.NAME] TABLES": reflect.TypeFor[Provider](),
	} {
		var got []string
		for _, item := range tagged.FindAllStringSubmatch(manualSection(t, title), -1) {
			for key := range strings.SplitSeq(item[1], " , Li ") {
				m := keyOf.FindStringSubmatch(key)
				if m == nil {
					t.Errorf("%s: %q has no key", title, item[0])
					continue
				}
				got = append(got, m[1])
				if of := inner[m[1]]; of != nil {
					checkKeys(t, title+" "+m[1], groups(innerOf.FindAllStringSubmatch(key, -1)), fieldsOf(of))
				}
			}
		}
		checkKeys(t, title, got, fieldsOf(table))
	}
}

// TestEveryListThatCanBeAddedToIsInTheManual as one: what the decoder takes with _add behind it.
func TestEveryListThatCanBeAddedToIsInTheManual(t *testing.T) {
	t.Parallel()
	said, _, _ := strings.Cut(manualSection(t, "WHAT MERGES HOW"), "\nreplace what was there")
	said = said[strings.LastIndex(said, ".It\n"):]
	named := groups(regexp.MustCompile(`\b(args|routes|before|after|env|defaults|command|stdio|errors|listen|list)\b`).FindAllStringSubmatch(said, -1))
	var added []string
	for _, key := range append(fieldsOf(reflect.TypeFor[Provider]()), fieldsOf(reflect.TypeFor[Named]())...) {
		for _, value := range []string{`["x"]`, `[["x"]]`, `{ x = "1" }`} {
			text := "[provider.x]\nroutes = [\"x://[{x}@]{host}:{port}\"]\ncommand = [\"x\"]\n" + key + "_add = " + value + "\n"
			if _, _, err := load(t, text); err == nil && !slices.Contains(added, key) {
				added = append(added, key)
			}
		}
	}
	checkKeys(t, "the lists that can be added to", named, added)
}

func groups(matches [][]string) (first []string) {
	for _, m := range matches {
		first = append(first, m[1])
	}
	return first
}

func checkKeys(t *testing.T, where string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || len(want) == 0 {
		t.Errorf("%s: the manual has %q, and the program %q", where, got, want)
	}
}
