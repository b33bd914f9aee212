package main

import (
	"crypto/sha256"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// bill is a bill of materials as in https://cyclonedx.org/docs/1.5/json/.
type bill struct {
	BOMFormat    string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	SerialNumber string       `json:"serialNumber"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Timestamp string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Type       string          `json:"type"`
	BOMRef     string          `json:"bom-ref"`
	Name       string          `json:"name"`
	Version    string          `json:"version"`
	Hashes     []hash          `json:"hashes,omitempty"`
	Licenses   []licenceChoice `json:"licenses"`
	PURL       string          `json:"purl"`
	Properties []property      `json:"properties,omitempty"`
}

type hash struct {
	Alg     string `json:"alg"`
	Content string `json:"content"`
}

type licenceChoice struct {
	License licenceName `json:"license"`
}

type licenceName struct {
	ID string `json:"id"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn"`
}

func (p *program) bill(made time.Time) bill {
	self := p.main.component("application")
	self.Name = p.name
	self.Hashes = []hash{{Alg: "SHA-256", Content: p.sha256}}
	b := bill{
		BOMFormat: "CycloneDX", SpecVersion: "1.5", Version: 1,
		SerialNumber: serialNumber(p.sha256),
		Metadata:     metadata{Timestamp: made.Format(time.RFC3339), Component: self},
	}
	all := dependency{Ref: self.BOMRef, DependsOn: []string{}}
	for _, m := range p.linked {
		c := m.component("library")
		b.Components = append(b.Components, c)
		all.DependsOn = append(all.DependsOn, c.BOMRef)
	}
	b.Dependencies = []dependency{all}
	return b
}

func (m module) component(kind string) component {
	c := component{
		Type: kind, BOMRef: m.purl(), Name: m.path, Version: m.version, PURL: m.purl(),
		Licenses: []licenceChoice{{licenceName{m.licence.id}}},
	}
	if m.sum != "" { // Go's hash of a module is no hash of a file, which is what "hashes" are for
		c.Properties = []property{{Name: "golang:h1", Value: m.sum}}
	}
	return c
}

// purl is the package URL: https://github.com/package-url/purl-spec, where names of Go's modules are in lower case.
func (m module) purl() string {
	return "pkg:golang/" + strings.ToLower(m.path) + "@" + url.QueryEscape(strings.TrimPrefix(m.version, "go"))
}

// serialNumber is a UUID (version 8 of RFC 9562) of the program, not of the moment: what is built again has the same one.
func serialNumber(program string) string {
	id := sha256.Sum256([]byte("bill of materials of " + program))
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:16])
}
