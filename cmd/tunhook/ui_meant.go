package main

import (
	"errors"
	"strings"

	"github.com/xrash/smetrics"

	"github.com/tunhook/tunhook/tunnel"
)

// nearest gives the one of those known that was meant by a word that is not among them, and none where they are all unlike it.
func nearest(word string, known []string) (meant string) {
	const alike = 0.8 // of 1; by Jaro and Winkler, who made it for misspelt names
	best := alike
	for _, k := range known {
		if likeness := smetrics.JaroWinkler(strings.ToLower(word), k, 0.7, 4); word != "" && likeness > best {
			best, meant = likeness, k
		}
	}
	return meant
}

// didYouMean is a hint that asks for what was meant, if that is known.
func didYouMean(meant string) string {
	if meant == "" {
		return ""
	}
	return ": did you mean " + meant + "?"
}

// meantRoute guesses what a route was to be that is unknown by its name or its scheme.
func meantRoute(err error) string {
	var route *tunnel.RouteError
	if !errors.As(err, &route) {
		return ""
	}
	word, _, schemed := strings.Cut(route.Route, "://")
	meant := nearest(word, route.Known)
	if meant != "" && schemed {
		meant += "://"
	}
	return meant
}
