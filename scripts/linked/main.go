// Command linked tells what is linked into a Go program, from the build info in the program itself: as a bill of materials
// (CycloneDX), and as the notices that the modules' licences ask for.
//
// It looks the licences up in the module cache, so it runs where the program was built.
package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

func main() {
	version := flag.String("version", "", "the `VERSION` of the program")
	sbom := flag.String("sbom", "", "write the bill of materials to `FILE`")
	notices := flag.String("notices", "", "write the notices to `FILE`")
	flag.Parse()
	if err := write(flag.Arg(0), *version, *sbom, *notices); err != nil {
		fmt.Fprintln(os.Stderr, "linked:", err)
		os.Exit(1)
	}
}

func write(path, version, sbom, notices string) error {
	p, err := readProgram(path, version)
	if err != nil {
		return err
	}
	made, err := sourceDate(os.Getenv("SOURCE_DATE_EPOCH"))
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(p.bill(made), "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(sbom, append(text, '\n'), 0o644),
		os.WriteFile(notices, p.notices(), 0o644),
	)
}

// sourceDate is the time that a build has instead of its own: https://reproducible-builds.org/specs/source-date-epoch/.
func sourceDate(epoch string) (time.Time, error) {
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// module is one that is linked into the program: Go's own library is among them.
type module struct {
	path, version, sum string
	licence            licence
}

// program is a Go program and what is linked into it.
type program struct {
	name, version string
	main          module
	linked        []module
	sha256        string
}

func readProgram(path, version string) (*program, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	info, err := buildinfo.Read(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	p := &program{
		name: filepath.Base(path), version: version, sha256: hex.EncodeToString(sum[:]),
		main: module{path: info.Main.Path, version: version},
	}
	if p.main.licence, err = readLicence("."); err != nil {
		return nil, err
	}
	std := module{path: "std", version: info.GoVersion}
	if std.licence, err = goLicence(); err != nil {
		return nil, err
	}
	p.linked = append(p.linked, std)
	for _, dep := range info.Deps {
		m, err := linkedModule(dep)
		if err != nil {
			return nil, err
		}
		p.linked = append(p.linked, m)
	}
	return p, nil
}

func linkedModule(dep *debug.Module) (m module, err error) {
	if dep.Replace != nil {
		dep = dep.Replace
	}
	dir, err := goCommand("list", "-m", "-f", "{{.Dir}}", dep.Path)
	if err != nil {
		return m, err
	}
	m = module{path: dep.Path, version: dep.Version, sum: dep.Sum}
	m.licence, err = readLicence(dir)
	return m, err
}

// goLicence is that of Go's own library and runtime.
func goLicence() (licence, error) {
	root, err := goCommand("env", "GOROOT")
	if err != nil {
		return licence{}, err
	}
	return readLicence(root)
}

func goCommand(args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%v: %w", cmd, err)
	}
	return strings.TrimSpace(string(out)), nil
}
