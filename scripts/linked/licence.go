package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// licence is what a module may be used under.
type licence struct {
	id    string // of https://spdx.org/licenses/
	texts []text // the licence, and the notices and patent grants beside it
}

type text struct {
	name string
	data []byte
}

// readLicence reads the licence of the module in a directory. One that nobody has looked at is an error: whether it may be
// linked is not for a program to say.
func readLicence(dir string) (l licence, err error) {
	for _, pattern := range []string{"LICEN[CS]E*", "COPYING*", "NOTICE*", "PATENTS*"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return l, err
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				return l, err
			}
			l.texts = append(l.texts, text{filepath.Base(name), data})
		}
	}
	if len(l.texts) == 0 {
		return l, fmt.Errorf("%s has no licence", dir)
	}
	if l.id = licenceID(l.texts[0].data); l.id == "" {
		return l, fmt.Errorf("%s has a licence that is none of the known ones", dir)
	}
	return l, nil
}

// licenceID knows the licences that the linked modules have, and may have.
func licenceID(data []byte) string {
	plain := strings.Join(strings.Fields(string(data)), " ")
	switch {
	case strings.Contains(plain, "Apache License Version 2.0"):
		return "Apache-2.0"
	case strings.Contains(plain, "Permission is hereby granted, free of charge, to any person"):
		return "MIT"
	case strings.Contains(plain, "Redistribution and use in source and binary forms"):
		if strings.Contains(plain, "to endorse or promote products") {
			return "BSD-3-Clause"
		}
		return "BSD-2-Clause"
	case strings.Contains(plain, "Permission to use, copy, modify, and/or distribute this software"):
		return "ISC"
	}
	return ""
}

// notices are the licences of all that is linked, for who gets the program.
func (p *program) notices() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s is linked from these modules. Their licences, and what these ask to be passed on, follow.\n\n", p.name, p.version)
	for _, m := range p.linked {
		fmt.Fprintf(&b, "%s %s: %s\n", m.path, m.version, m.licence.id)
	}
	for _, m := range p.linked {
		for _, t := range m.licence.texts {
			fmt.Fprintf(&b, "\n%s\n%s %s, %s\n\n%s\n", strings.Repeat("=", 80), m.path, m.version, t.name, bytes.TrimRight(t.data, "\n"))
		}
	}
	return b.Bytes()
}
