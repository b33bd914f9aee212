package main

import (
	_ "embed"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
)

// nextVersion is the released version, or the next one with "-dev". It stands in a file, where scripts/version and
// packagers find it without Go.
//
//go:embed VERSION
var nextVersion string

// stampedVersion is what the Makefile gives to the linker (-X), which can set nothing but a variable: scripts/version prints it.
var stampedVersion string

// version is the version of this program, as --version, the packages and the report of a fault name it.
func version() string {
	if stampedVersion != "" {
		return stampedVersion
	}
	info, _ := debug.ReadBuildInfo()
	return versionOf(strings.TrimSpace(nextVersion), info)
}

// pseudoVersion is what Go calls a commit without a tag: https://go.dev/ref/mod#pseudo-versions.
//
// It is compiled when it is needed, as all of them are: each start would wait for it.
var pseudoVersion = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`[-.](\d{14})-([0-9a-f]{12})$`)
})

// versionOf is the version that scripts/version gives too, of a program that was built without the Makefile: a tag, or the
// next version with time and commit (UTC), and "dirty" where the checkout was none of that exactly.
func versionOf(next string, info *debug.BuildInfo) string {
	if info == nil || info.Main.Version == "" || info.Main.Version == "(devel)" { // no git, or -buildvcs=false
		return next
	}
	built, dirty := strings.CutSuffix(strings.TrimPrefix(info.Main.Version, "v"), "+dirty")
	base, _ := strings.CutSuffix(next, "-dev")
	var of []string
	if m := pseudoVersion().FindStringSubmatch(built); m != nil {
		base, of = base+"-dev."+m[1], append(of, m[2])
	} else {
		base = built
	}
	if dirty {
		of = append(of, "dirty")
	}
	if len(of) == 0 {
		return base
	}
	return base + "+" + strings.Join(of, ".")
}
