//go:build e2e

// Package e2epackages makes the packages, looks them over with lintian and rpmlint, and installs, uses, upgrades and removes
// them with apt and rpm in bare roots of Debian. It runs as root on Debian 12; scripts/e2e-packages-setup installs what it needs.
package e2epackages
