# The build of pairfs. `make` alone lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# Programs of the system that tests and demo call often lie where only root's PATH leads.
export PATH := $(PATH):/usr/local/go/bin:/usr/local/sbin:/usr/sbin:/sbin

GO      ?= go
PREFIX  ?= /usr/local
BIN     := bin/pairfs
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -X main.buildVersion=$(VERSION)

# The packages; e2e runs daemons of its own and takes longest.
UNIT := $(shell $(GO) list ./... 2>/dev/null | grep -v /e2e)
E2E  := ./e2e/...

FUZZTIME ?= 30s
LINTER   := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# command:package, for what a plain Debian lacks.
TOOLS := fusermount3:fuse3 mkfs.ext4:e2fsprogs debugfs:e2fsprogs mkfs.xfs:xfsprogs fio:fio ip:iproute2 tc:iproute2 nsenter:util-linux losetup:mount \
	fstrim:util-linux blkdiscard:util-linux gcc:gcc gcc:libc6-dev git:git

# The applications that `make apps` tests, on top of these. PostgreSQL's server lies outside of every PATH.
APPS := postgres:postgresql pgbench:postgresql-contrib pg_amcheck:postgresql-contrib sqlite3:sqlite3
PG    = $(lastword $(sort $(wildcard /usr/lib/postgresql/*/bin)))

# What `make suites` needs on top of both.
SUITES := stress-ng:stress-ng e2fsck:e2fsprogs xfs_repair:xfsprogs

# What `make powercut` needs on top: an emulator, and a kernel whose package is unpacked and not installed.
MACHINE := qemu-system-x86_64:qemu-system-x86 dpkg-deb:dpkg
KERNEL  := bin/kernel

# $(call need,LIST) installs what of such a list is missing, with apt-get.
define need
	@missing=""; for t in $(1); do \
		PATH="$$PATH:$(PG)" command -v "$${t%%:*}" >/dev/null 2>&1 || missing="$$missing $${t##*:}"; \
	done; \
	[ -n "$$missing" ] || exit 0; \
	command -v apt-get >/dev/null 2>&1 || { echo "install these, then try again:$$missing" >&2; exit 1; }; \
	echo "apt-get install$$missing"; \
	apt-get update -qq </dev/null; \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing </dev/null >/dev/null
endef

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/pairfs
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/pairfs

.PHONY: test
test: tools check build rings ## everything that must hold: formatting, vet, all tests (needs root and /dev/fuse)

.PHONY: tools
tools: ## install what the tests call and this host lacks, with apt-get
	$(call need,$(TOOLS))

.PHONY: check
check: ## formatting, go vet, go.mod
	@bad=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); [ -z "$$bad" ] || { echo "gofmt would change: $$bad" >&2; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags crashpoints ./crashpoint
	$(GO) mod tidy -diff

# Tests that wait for disks and links leave a processor free: more of them than there are processors run at a time. The race detector costs
# five times the processor time; so it sees each time what has most goroutines in each other's way, and of the scenarios, which are most of that,
# one in SCENARIOS, others each time. `make race` is all of it.
SCENARIOS ?= 16
RACES := ^Test(Virtual|Random|Scenarios|I[1258]|Concurrent|Ring|Sync|Flush|Reserve|AddVolume)

.PHONY: unit unit-plain unit-race
unit: ## tests of the packages, those with most goroutines once more with the race detector
	@$(MAKE) --no-print-directory -j2 unit-plain unit-race

unit-plain:
	$(GO) test -shuffle=on -parallel 6 -timeout 20m $(filter-out pairfs/fs pairfs/quicwire%,$(UNIT))

unit-race:
	$(GO) test -race -shuffle=on -parallel 4 -timeout 20m ./fs/... ./quicwire/...
	PAIRFS_SCENARIOS=$(SCENARIOS) $(GO) test -race -shuffle=on -parallel 4 -timeout 20m -run '$(RACES)' ./journal ./replica

# The tests without the race detector take longest of those of the packages: e2e begins beside them, behind the other half. All three at a time would be
# more than two processors can do before a test is given up.
.PHONY: rings race-e2e e2e-tests
rings: ## unit and e2e, side by side as far as two processors go
	@$(MAKE) --no-print-directory -j2 unit-plain race-e2e
	@$(MAKE) --no-print-directory leftovers

race-e2e: unit-race
	@$(MAKE) --no-print-directory e2e-tests

e2e-tests:
	$(GO) test -shuffle=on -parallel 3 -timeout 20m $(E2E)

SEEDS ?= 200

# What a test of sites prints, without their logs.
PLAIN = { grep -Ev '^=== |_test\.go:[0-9]+: time=' || true; }

.PHONY: sim
sim: ## two sites in virtual time for SEEDS (200) seeds of hosts, commands and faults, every second one with takeovers, one a processor at a time; PAIRFS_SEED is the first
	@PAIRFS_SIM=$(SEEDS) $(GO) test -run '^TestVirtual(Time|Takeover)$$' -count=1 -v -timeout 120m ./replica | \
		{ grep -Ev 'sim_test.go:[0-9]+: +[0-9]+\.[0-9]{3} |^=== ' || true; }

.PHONY: links
links: ## bad and lost links, and peers that are connected and say nothing, in virtual time; `make e2e-long` has them with real packets
	PAIRFS_LINKS=1 $(GO) test -run '^Test(Mute[A-Z].*|PathWatchExactly|BadLinkHolds|DarkSitesAreQuiet)$$' -count=1 -v -timeout 20m ./replica | \
		$(PLAIN)

.PHONY: e2e
e2e: e2e-tests ## two sites as processes, with faults between them
	@$(MAKE) --no-print-directory leftovers

.PHONY: e2e-long
e2e-long: ## the same, longer and with more faults
	PAIRFS_LONG=1 $(GO) test -shuffle=on -count=1 -v -timeout 120m $(E2E)
	@$(MAKE) --no-print-directory leftovers

CYCLES ?= 500

.PHONY: soak
soak: ## kill, stop, cut and take over two sites for CYCLES (500) cycles; PAIRFS_SEED chooses the faults
	PAIRFS_SOAK=$(CYCLES) $(GO) test -run '^TestSoak$$' -count=1 -v -timeout 120m ./e2e
	@$(MAKE) --no-print-directory leftovers

LOAD ?= 1h

.PHONY: load
load: ## 200 volumes in 20 groups, 64 writers on one volume, and full load with 10,000 commands an hour for LOAD (1h), in which nothing may grow
	PAIRFS_LOAD=$(LOAD) $(GO) test -run '^TestLoad' -parallel 1 -count=1 -v -timeout 240m ./e2e
	@$(MAKE) --no-print-directory leftovers

.PHONY: crashpoints
crashpoints: ## let a daemon die at each named point of its work, on either side
	PAIRFS_CRASHPOINTS=1 $(GO) test -run '^TestCrashPoints$$' -count=1 -v -timeout 60m ./e2e
	@$(MAKE) --no-print-directory leftovers

TAKEOVERS ?= 50

.PHONY: apps
apps: tools ## PostgreSQL, SQLite, ext4 and xfs through takeovers, TAKEOVERS (50) of the file systems, and fio through switchovers; installs what is missing
	$(call need,$(APPS))
	PAIRFS_APPS=1 PAIRFS_TAKEOVERS=$(TAKEOVERS) $(GO) test -run '^TestApp[A-Z]' -count=1 -v -timeout 90m ./e2e
	@$(MAKE) --no-print-directory leftovers

.PHONY: suites
suites: tools ## known file-system suites on paired volumes: fio with verify in every mode, stress-ng on ext4 and xfs with fsck, PostgreSQL with pgbench and data checksums, go-fuse's posixtest; installs what is missing
	$(call need,$(APPS) $(SUITES))
	PAIRFS_SUITES=1 PAIRFS_APPS=1 $(GO) test -run '^Test(Suite[A-Z]|AppPostgres$$)' -count=1 -v -timeout 90m ./e2e
	@$(MAKE) --no-print-directory leftovers

OPS ?= 100000

.PHONY: fsx
fsx: ## random operations on volumes against a model: OPS (100000) in each of three processes; PAIRFS_SEED chooses the same again, PAIRFS_FSX_LOG is a folder for lists of them
	PAIRFS_FSX=$(OPS) $(GO) test -run '^TestFsx$$' -count=1 -v -timeout 240m ./e2e
	@$(MAKE) --no-print-directory leftovers

.PHONY: disks
disks: ## bad disks at length: a flip in every byte of a database, the first 25 operations of journals and stores failing, a crash in every operation of a change of journals
	PAIRFS_LONG=1 $(GO) test -run 'Crash' -count=1 -timeout 60m ./journal
	PAIRFS_DISKS=1 $(GO) test -run '^Test(DatabaseFlips|DatabaseFaults|JournalFaults|StoreFaults|WreckedJournal)$$' -count=1 -v -timeout 60m ./replica | \
		$(PLAIN)

ROUNDS ?= 50

.PHONY: hostile
hostile: ## a peer that turns hostile at length: ROUNDS (50) random bodies of each frame; PAIRFS_SEED chooses them
	PAIRFS_HOSTILE=$(ROUNDS) $(GO) test -run '^TestHostile' -count=1 -v -timeout 60m ./replica | \
		$(PLAIN)

CUTS  ?= 10
ACCEL ?= tcg

.PHONY: powercut
powercut: tools build $(KERNEL) ## cut the power of a virtual machine that is the primary, CUTS (10) times; installs qemu, unpacks a kernel; PAIRFS_SEED chooses what is lost
	$(call need,$(MACHINE))
	PAIRFS_POWERCUT=$(CUTS) PAIRFS_ACCEL=$(ACCEL) PAIRFS_BIN=$(abspath $(BIN)) PAIRFS_KERNEL=$(abspath $(KERNEL)) $(GO) test -run '^TestPowerCutOfAMachine$$' -count=1 -v -timeout 240m ./e2e
	@$(MAKE) --no-print-directory leftovers

# The kernel of Debian for virtual machines, as its package holds it.
$(KERNEL):
	@command -v apt-get >/dev/null 2>&1 || { echo "unpack a Linux kernel's package into $@, with boot/ and lib/modules/, then try again" >&2; exit 1; }
	apt-get update -qq </dev/null
	@rm -rf $@.new && mkdir -p $@.new; cd $@.new; \
		package=$$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image-/ { print $$2; exit }'); \
		echo "apt-get download $$package"; apt-get download -qq -o APT::Sandbox::User=root "$$package"; \
		dpkg-deb -x "$$package"_*.deb .; rm "$$package"_*.deb; find lib -name '*.ko.xz' -exec xz -d {} +
	mv $@.new $@

.PHONY: leftovers
leftovers:
	@! grep -E '/(Test|go-test-script)[^ ]* .* - (fuse\.pairfs|ext4|xfs) ' /proc/self/mountinfo || { echo "the tests left these mounts behind" >&2; exit 1; }
	@! losetup --noheadings --output NAME,BACK-FILE | grep -E '/Test' || { echo "the tests left these loop devices behind" >&2; exit 1; }

.PHONY: race
race: tools ## all tests with the race detector
	$(GO) test -race -shuffle=on -count=1 -timeout 30m ./...

.PHONY: fuzz
fuzz: ## each fuzz test for FUZZTIME (30s)
	@grep -rnoE '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' . | sort | while IFS=: read -r file _ func; do \
		echo "$(GO) test -fuzz $${func#func } $$(dirname $$file)"; \
		$(GO) test -run '^$$' -fuzz "^$${func#func }\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5s "$$(dirname $$file)" </dev/null; \
	done

.PHONY: bench
bench: build ## measure beside the raw disk, print the figures, and write them to bin/bench.json; ROWS=REGEXP measures a part, QUICK=1 less of all
	$(call need,$(TOOLS) sqlite3:sqlite3)
	$(GO) run ./e2e/bench -json bin/bench.json -rows '$(ROWS)'

.PHONY: growth
growth: build ## measure how the cost of a write and a start grow with pairs, volumes and journals, and write that to bin/growth.json (needs 45 GB of disk)
	$(call need,$(TOOLS) sqlite3:sqlite3)
	$(GO) run ./e2e/bench -growth -json bin/growth.json

.PHONY: wan
wan: ## measure a mirror over long links that lose packets, over one path and several, beside TCP (needs root, /dev/net/tun; 15 min)
	PAIRFS_WAN=1 $(GO) test -run '^TestLongPaths$$' -count=1 -v -timeout 40m ./e2e | { grep -E 'MB/s|TCP|paths=|lag,|packets passed|^(ok|FAIL|panic)|^ *--- ' || true; }

.PHONY: demo
demo: build ## two sites on this host, with a tour (needs root)
	$(BIN) demo

# What scripts for RAID Manager call; as links to pairfs. A real RAID Manager's programs are left alone.
RAID := horctakeover paircreate pairdisplay pairevtwait pairresync pairsplit pairsyncwait pairvolchk raidvchkscan

.PHONY: install
install: build ## install to PREFIX (/usr/local), with the names of RAID Manager's commands
	install -D -m 0755 $(BIN) $(DESTDIR)$(PREFIX)/bin/pairfs
	@cd $(DESTDIR)$(PREFIX)/bin; for c in $(RAID); do \
		if [ ! -e $$c ] && [ ! -L $$c ] || [ "$$(readlink $$c)" = pairfs ]; then ln -sfn pairfs $$c; \
		else echo "$(DESTDIR)$(PREFIX)/bin/$$c is another program and is left as it is; pairfs raid $$c does the same" >&2; fi; \
	done

.PHONY: uninstall
uninstall: ## take away what install put there; sites and their state stay
	@cd $(DESTDIR)$(PREFIX)/bin; for c in $(RAID); do \
		[ "$$(readlink $$c)" != pairfs ] || rm -f $$c; \
	done
	rm -f $(DESTDIR)$(PREFIX)/bin/pairfs

.PHONY: lint
lint: ## golangci-lint, fetched on first use
	$(GO) run $(LINTER) run ./...

.PHONY: fmt
fmt: ## gofmt
	gofmt -w $$(git ls-files -co --exclude-standard '*.go')

.PHONY: cover
cover: ## coverage of the package tests, as cover.html
	$(GO) test -coverpkg=./... -coverprofile=cover.out $(UNIT)
	$(GO) tool cover -func=cover.out | tail -n 1
	$(GO) tool cover -html=cover.out -o cover.html

.PHONY: clean
clean: ## remove what was built
	rm -rf bin cover.out cover.html
