# Everything is built, tested and measured from here; `make help` lists it.
# Only Go and make are needed, except where a target says otherwise.

PREFIX  = /usr/local
DESTDIR =

BINDIR  = $(DESTDIR)$(PREFIX)/bin
MANDIR  = $(DESTDIR)$(PREFIX)/share/man/man1
MAN5DIR = $(DESTDIR)$(PREFIX)/share/man/man5
BASHDIR = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
ZSHDIR  = $(DESTDIR)$(PREFIX)/share/zsh/site-functions
FISHDIR = $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
APPDIR  = $(DESTDIR)$(PREFIX)/share/applications
DOCDIR  = $(DESTDIR)$(PREFIX)/share/doc/tunhook

# Targets need each other in the order in which they stand; go does much at once by itself.
.NOTPARALLEL:

# What build makes and install installs.
TUNHOOK = tunhook

# What is built is called this; packagers who build from an archive need say nothing.
VERSION = $(shell scripts/version)

# The tag leaves out the documentation generator of the cli package, whose set-up
# would cost half a millisecond at every start. The version is stamped, so that git need
# not let whoever builds look at the checkout, and two builds are the same bytes.
GOFLAGS_BUILD = -trimpath -buildvcs=false -tags urfave_cli_no_docs -ldflags '-s -w -X main.stampedVersion=$(VERSION)'

STATICCHECK = go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOFUMPT     = go run mvdan.cc/gofumpt@v0.12.0

# Every shell script of the repository: the files whose first line says so.
SCRIPTS = $(shell find .ci scripts packaging -type f -exec awk 'FNR == 1 && /^.!.*sh$$/ { print FILENAME }' {} +)

# How far the model test goes in make soak, and from which seed; none is a random one. How many times as often as in make test starts
# are tried and killed.
STEPS = 100000
SEED  =
TIMES = 50

# Where the end-to-end tests leave screenshots and logs.
ARTIFACTS = $(CURDIR)/artifacts

.PHONY: build
build: needs-go ## build ./tunhook
	CGO_ENABLED=0 go build $(GOFLAGS_BUILD) -o $(TUNHOOK) ./cmd/tunhook

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

.PHONY: needs-go
needs-go:
	@scripts/needs-go '$(or $(firstword $(MAKECMDGOALS)),build)' '$(THEN)'

# Builds what is not what the checkout would build, as far as can be told without Go.
BUILD_STALE = why=$$(scripts/stale '$(VERSION)') || exit; \
	if [ -n "$$why" ]; then echo "$$why: it is built now"; $(MAKE) --no-print-directory build THEN=', and this again'; fi

.PHONY: current
current:
	@$(BUILD_STALE)

# Go knows best what has to be built, and takes a second where nothing has. Where root installs what somebody else has built,
# by sudo or su, there is often none, and with it root would compile everything once more.
.PHONY: built
built:
	@if [ -z "$$SUDO_USER" ] && [ -O . ] && scripts/needs-go build 2>/dev/null; then $(MAKE) --no-print-directory build; else $(BUILD_STALE); fi

.PHONY: demo
demo: needs-go ## show the main job on real sockets, step by step
	@[ -z "$$(scripts/stale '$(VERSION)')" ] || \
		echo 'Building tunhook and the demo: a minute or two the first time, seconds from then on.'
	@$(MAKE) --no-print-directory current
	@CGO_ENABLED=0 go run $(GOFLAGS_BUILD) ./scripts/demo

# How many tests of a package run at once, for each processor: they wait far more than they work.
PER_PROCESSOR = 4

.PHONY: test
test: needs-go ## run the tests, with the race detector where there is a C compiler
	@race=-race; if [ "$$(go env CGO_ENABLED)" != 1 ]; then race=; \
		echo 'make test: no C compiler, which the race detector needs: testing without it'; fi; \
	parallel=$$(($(PER_PROCESSOR) * $$(getconf _NPROCESSORS_ONLN))); \
	set -x; go test $$race -parallel $$parallel -timeout 30m ./...

# How long each target is given, and flags of go test for all of them.
FUZZTIME = 20s
FUZZ     =

.PHONY: fuzz
fuzz: needs-go ## look for input that a parser cannot take, FUZZTIME (20s) for each
	scripts/fuzz $(FUZZTIME) $(FUZZ)

.PHONY: soak
soak: needs-go ## let the model test take 100,000 steps (STEPS=, SEED= for others), after 20,000 starts, most of them killed (TIMES=)
	TUNHOOK_TIMES=$(TIMES) go test -count=1 -timeout 0 -v -run 'FirstConnectionAfterStart|KilledStart|InterruptedStart' ./cmd/tunhook
	TUNHOOK_MODEL_STEPS=$(STEPS) TUNHOOK_MODEL_SEED=$(SEED) go test -count=1 -timeout 0 -v -run '^TestModel$$' ./cmd/tunhook

.PHONY: lint
lint: needs-go ## vet (for macOS too), staticcheck, gofumpt, shellcheck (which must be installed)
	go vet -tags e2e ./...
	GOOS=darwin go vet -gcflags="all=-N -l" ./...
	$(STATICCHECK) -tags e2e ./...
	@files=$$($(GOFUMPT) -l .) || exit 1; \
		if [ -n "$$files" ]; then echo "gofumpt would change:"; echo "$$files"; exit 1; fi
	@command -v shellcheck >/dev/null || { echo 'make lint: shellcheck is missing: apt-get install shellcheck'; exit 1; }
	shellcheck $(SCRIPTS)

# The tests wait more than they work: for whoever signs in, and for what is to end.
.PHONY: e2e
e2e: needs-go ## drive real clients and servers (installs them first, as root, on Debian 12; DEBIAN=trixie or sid: those of that release)
	$(if $(DEBIAN),scripts/e2e-root $(DEBIAN),scripts/e2e-setup)
	TUNHOOK_E2E_ARTIFACTS=$(ARTIFACTS)$(DEBIAN:%=/%) go test -tags e2e -count=1 -timeout 40m -parallel 4 \
		$(if $(DEBIAN),-exec '$(CURDIR)/scripts/e2e-root $(DEBIAN)') ./scripts/e2e/...

.PHONY: e2e-ssh
e2e-ssh: needs-go ## carry bytes through a real sshd (scripts/bench-setup installs it)
	go test -tags e2e -count=1 ./scripts/e2e-ssh

# The programs that e2e-providers fails without: with "$(scripts/providers-setup --programs)" those that can be installed.
NEED =

.PHONY: e2e-providers
e2e-providers: needs-go ## run the tunnel programs that are installed, and name the others (NEED='kubectl aws': must be there)
	TUNHOOK_E2E_PROVIDERS=1 TUNHOOK_E2E_NEED='$(NEED)' \
		go test -tags e2e -count=1 -v -parallel 8 -timeout 10m -run '^TestRealPrograms$$' ./scripts/e2e

.PHONY: bench
bench: build ## measure, and check the bounds (scripts/bench-setup installs the comparators)
	@go run ./scripts/bench $(BENCH)

.PHONY: packages
packages: needs-go ## make deb, rpm and archive for amd64 and arm64 in artifacts/packages, with checksums
	rm -rf $(ARTIFACTS)/packages
	VERSION='$(VERSION)' scripts/packages $(ARTIFACTS)/packages

.PHONY: e2e-packages
e2e-packages: needs-go ## install, use, upgrade and remove the packages (as root; installs lintian, rpm and others first)
	scripts/e2e-packages-setup
	go test -tags e2e -count=1 -timeout 40m -v ./scripts/e2e-packages

.PHONY: install
install: built install-files ## build where that is needed, and install under PREFIX (/usr/local), inside DESTDIR

# For packagers: what is in a package, without a look at whether it has to be built.
.PHONY: install-files
install-files:
	mkdir -p $(BINDIR) $(MANDIR) $(MAN5DIR) $(BASHDIR) $(ZSHDIR) $(FISHDIR) $(APPDIR) $(DOCDIR)/examples
	install -m 755 $(TUNHOOK) $(BINDIR)/tunhook
	install -m 755 scripts/xfreerdp-tunnel $(BINDIR)/xfreerdp-tunnel
	install -m 644 packaging/tunhook.1 $(MANDIR)/tunhook.1
	install -m 644 packaging/xfreerdp-tunnel.1 $(MANDIR)/xfreerdp-tunnel.1
	install -m 644 packaging/tunhook.toml.5 $(MAN5DIR)/tunhook.toml.5
	install -m 644 packaging/completions/tunhook.bash $(BASHDIR)/tunhook
	install -m 644 packaging/completions/_tunhook $(ZSHDIR)/_tunhook
	install -m 644 packaging/completions/tunhook.fish $(FISHDIR)/tunhook.fish
	install -m 644 packaging/tunhook.desktop $(APPDIR)/tunhook.desktop
	install -m 644 packaging/config.toml $(DOCDIR)/examples/config.toml

.PHONY: uninstall
uninstall: ## remove what install has installed; before, each user disables what is enabled
	@packaging/before-removal remove
	rm -f $(BINDIR)/tunhook $(BINDIR)/xfreerdp-tunnel $(MANDIR)/tunhook.1 $(MANDIR)/xfreerdp-tunnel.1 $(MAN5DIR)/tunhook.toml.5
	rm -f $(BASHDIR)/tunhook $(ZSHDIR)/_tunhook $(FISHDIR)/tunhook.fish
	rm -f $(APPDIR)/tunhook.desktop $(DOCDIR)/examples/config.toml
	rmdir $(DOCDIR)/examples $(DOCDIR) 2>/dev/null || true

.PHONY: clean
clean: ## remove what the other targets have made here
	rm -rf tunhook artifacts
