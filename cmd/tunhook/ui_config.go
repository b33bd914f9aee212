package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/tunhook/tunhook/hook"
	"github.com/tunhook/tunhook/tunnel"
)

// The messages about the configuration; see ui.go for the rules.

// configuration prints what the configuration comes to, as TOML, with the origin of each value in a comment. Without all only values
// that come from the files.
func (u *ui) configuration(files []string, tables []tunnel.Table, all bool) error {
	for _, file := range files {
		if err := u.result("# " + file); err != nil {
			return err
		}
	}
	for _, t := range tables {
		lines := []string{"", "[" + t.Kind + "." + tomlKey(t.Name) + "]"}
		if len(t.Faults) > 0 {
			lines[1] += "  # cannot be used"
		}
		for _, v := range t.Values {
			from, ownFile := origin(v.Origins)
			if all || ownFile {
				lines = append(lines, v.Key+" = "+tomlValue(v.Value)+"  # "+from)
			}
		}
		for _, line := range lines {
			if err := u.result(line); err != nil {
				return err
			}
		}
	}
	return nil
}

// origin says where a value is from, and whether that is a file of the configuration.
func origin(origins []tunnel.Origin) (text string, ownFile bool) {
	var places []string
	for _, o := range origins {
		switch {
		case o.Path == "":
			places = append(places, "built in")
			continue
		case o.Line == 0:
			places = append(places, o.Path)
		default:
			places = append(places, fmt.Sprintf("%s:%d", o.Path, o.Line))
		}
		ownFile = true
	}
	if len(places) == 0 {
		return "default", false
	}
	return strings.Join(places, ", "), ownFile
}

// tomlValue writes a value as TOML, on one line.
func tomlValue(value any) string {
	v := reflect.ValueOf(value)
	switch v.Kind() {
	case reflect.String:
		return tomlString(tunnel.WithoutPasswords(v.String()))
	case reflect.Slice:
		items := make([]string, v.Len())
		for i := range items {
			items[i] = tomlValue(v.Index(i).Interface())
		}
		return "[" + strings.Join(items, ", ") + "]"
	case reflect.Map:
		var items []string
		for key, value := range v.Seq2() {
			items = append(items, tomlKey(key.String())+" = "+tomlValue(value.Interface()))
		}
		slices.Sort(items)
		return "{ " + strings.Join(items, ", ") + " }"
	}
	return fmt.Sprint(value)
}

func tomlKey(key string) string {
	if regexp.MustCompile(`^[A-Za-z0-9_-]+$`).MatchString(key) {
		return key
	}
	return tomlString(key)
}

// tomlString writes a string as TOML; the escapes of JSON are all among its own.
func tomlString(s string) string {
	var text strings.Builder
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string can always be written
	return strings.TrimSuffix(text.String(), "\n")
}

// routes prints a line for each route that a gateway has. Without one nothing is printed.
func (u *ui) routes(routes []hook.ListedRoute) error {
	if len(routes) == 0 {
		return nil
	}
	table := newTable(u.stdout)
	row(table, "ROUTE", "PROVIDER", "NAME")
	for _, r := range routes {
		row(table, r.Route, r.Provider, dash(r.Name))
	}
	return table.Flush()
}
