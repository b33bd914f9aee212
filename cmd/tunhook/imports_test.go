package main

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// goPackage is what `go list -json` tells of a package. Tests do not count: they may import what they like.
type goPackage struct {
	ImportPath, Name, Dir string
	Imports               []string
	GoFiles, CgoFiles     []string
	IgnoredGoFiles        []string
	Module                struct{ Path string }
}

// path is the package's place in the module, "." for its root.
func (p goPackage) path() string { return within(p.Module.Path, p.ImportPath) }

// within gives the place of an import in the module, "" if it is not there.
func within(module, importPath string) string {
	switch {
	case importPath == module:
		return "."
	case strings.HasPrefix(importPath, module+"/"):
		return importPath[len(module)+1:]
	}
	return ""
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	list := exec.Command("go", "list", "-json=ImportPath,Name,Dir,Imports,GoFiles,CgoFiles,IgnoredGoFiles,Module", "./...")
	list.Dir = filepath.Join("..", "..")
	out, err := list.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		t.Fatalf("%v: %s", list, exit.Stderr)
	}
	check(t, err)
	var all []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		switch err := d.Decode(&p); {
		case err == nil:
			all = append(all, p)
		case errors.Is(err, io.EOF):
			return all
		default:
			t.Fatal(err)
		}
	}
}

// arrows say which packages of the module each may import: cmd → hook → {tunnel, pidfile}, and tunnel may know
// processes. Patterns are those of path.Match; the
// first that matches counts.
var arrows = []struct {
	from string
	to   []string
}{
	{"cmd/tunhook", []string{"hook", "hook/*", "tunnel", "pidfile", "pidfile/process", "scripts"}},
	{"hook", []string{"hook/*", "tunnel", "pidfile", "pidfile/process"}},
	{"hook/notify", []string{"hook/sessionbus", "tunnel"}},
	{"hook/flatpak", []string{"hook/sessionbus"}},
	{"hook/doctor", []string{"hook", "hook/*", "tunnel", "pidfile", "pidfile/process"}}, // looks at what the use cases work with
	{"hook/*", []string{"hook/*/*", "tunnel", "pidfile", "pidfile/process"}},
	{"hook/*/*", nil},
	{"hook/*/*/*", []string{"hook/*/*"}}, // for tests
	{"tunnel", []string{"pidfile/process"}},
	{"pidfile", []string{"pidfile/process"}},
	{"pidfile/process", nil},
	{"pidfile/process/processtest", nil},
	{"tunnel/tunneltest", nil},
	{"tunnel/tunneltest/*", []string{"tunnel/tunneltest"}},
	{"scripts", nil}, // a hook for Flatpaks, which the command installs
}

func TestImportsFollowTheArrows(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, p := range packages(t) {
		seen[p.path()] = true
		if strings.HasPrefix(p.path(), "scripts/") {
			continue // not part of the product: nothing may import it, and it may import anything
		}
		allowed, known := allowedImports(t, p.path())
		if !known {
			t.Errorf("%s has no place in the layout", p.path())
		}
		for _, imported := range p.Imports {
			if to := within(p.Module.Path, imported); to != "" && !slices.ContainsFunc(allowed, func(pattern string) bool { return matches(t, pattern, to) }) {
				t.Errorf("%s imports %s", p.path(), to)
			}
			if strings.HasPrefix(imported, "github.com/urfave/cli") && p.path() != "cmd/tunhook" {
				t.Errorf("%s imports %s, which only cmd does", p.path(), imported)
			}
		}
	}
	for _, must := range []string{"cmd/tunhook", "hook", "tunnel", "pidfile", "pidfile/process"} {
		if !seen[must] {
			t.Errorf("there is no package %s: this test looks in the wrong place", must)
		}
	}
}

func allowedImports(t *testing.T, from string) (allowed []string, known bool) {
	t.Helper()
	for _, a := range arrows {
		if matches(t, a.from, from) {
			return a.to, true
		}
	}
	return nil, false
}

func matches(t *testing.T, pattern, name string) bool {
	t.Helper()
	ok, err := path.Match(pattern, name)
	check(t, err)
	return ok
}

// forbidden is what only cmd does: it prints and exits, and what surrounds the process goes down from it as values.
var forbidden = map[string][]string{
	"fmt": {"Print", "Printf", "Println"},
	"os":  {"Exit", "Stdin", "Stdout", "Stderr", "Getenv", "LookupEnv", "Environ", "Setenv"},
	"log": {"*"},
}

// TestNothingBelowTheCommandPrintsOrExits, on any system.
func TestNothingBelowTheCommandPrintsOrExits(t *testing.T) {
	t.Parallel()
	looked := 0
	for _, p := range packages(t) {
		top, _, _ := strings.Cut(p.path(), "/")
		if !slices.Contains([]string{"hook", "tunnel", "pidfile"}, top) ||
			strings.HasPrefix(p.path(), "tunnel/tunneltest") || p.path() == "pidfile/process/processtest" {
			continue
		}
		for _, name := range slices.Concat(p.GoFiles, p.CgoFiles, p.IgnoredGoFiles) {
			if !strings.HasSuffix(name, "_test.go") {
				looked++
				reportForbidden(t, filepath.Join(p.Dir, name))
			}
		}
	}
	if looked == 0 {
		t.Error("no file was looked at")
	}
}

func reportForbidden(t *testing.T, file string) {
	t.Helper()
	fset := token.NewFileSet()
	syntax, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
	check(t, err)
	ast.Inspect(syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Name.Name == "init" && n.Recv == nil {
				t.Errorf("%s: an init function", fset.Position(n.Pos()))
			}
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && isForbidden(x.Name, n.Sel.Name) && imports(syntax, x.Name) {
				t.Errorf("%s: %s.%s", fset.Position(n.Pos()), x.Name, n.Sel.Name)
			}
		}
		return true
	})
}

func isForbidden(pkg, name string) bool {
	return slices.Contains(forbidden[pkg], name) || slices.Contains(forbidden[pkg], "*")
}

// imports tells whether a file imports the package of that name from the standard library: variables may have the same name.
func imports(file *ast.File, pkg string) bool {
	return slices.ContainsFunc(file.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"`+pkg+`"` && i.Name == nil })
}
