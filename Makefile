# The two commands of the README are `make demo` and `make test`.

CARGO ?= cargo
TARGET = $(or $(CARGO_TARGET_DIR),target)

# The tests that record in real time wait more than they compute: more of them at once than there are cores.
test: export RUST_TEST_THREADS ?= 4
test: export NEXTEST_TEST_THREADS ?= 4

.PHONY: help demo test quick docs fuzz playlists soak simulate bench deb test-deb fmt lint clean

help:
	@echo "make demo    a small congress on this machine, recorded: about two minutes"
	@echo "make test    everything that is tested (installs what the tests need)"
	@echo "make quick   the unit tests of one layer, LAYER=plan (domain, catalog, media, tape, app, cli, ...)"
	@echo "make docs    writes the generated pages of docs/reference"
	@echo "make fuzz    hostile input for FUZZ_SECONDS=300 a test (make test does it for 4 seconds each)"
	@echo "make soak    a congress day of SOAK_MINUTES=60 on a server that misbehaves, with SOAK_KILLS=30 times kill -9"
	@echo "make playlists  SEEDS=10000 HLS servers whose playlists lie (make test tries 1000)"
	@echo "make simulate  SEEDS=3000 congress days of trouble in simulated time"
	@echo "make diff-calendars  the dates of the test's calendars, and of CALENDARS=FOLDER, against two Python libraries"
	@echo "make bench   the measurements of docs/BENCHMARKS.md (installs what it compares with; forty minutes)"
	@echo "make deb     a Debian package in target/debian (installs cargo-deb where it is missing)"
	@echo "make lint    formatting, clippy, licences"
	@echo "make fmt     formats the code"
	@echo "make clean   removes what was built"

demo:
	@.ci/install-deps demo
	$(CARGO) build --locked --workspace --bins
	@$(TARGET)/debug/demo

# nextest runs the tests of all files side by side, which the ones that wait for real streams gain from;
# it knows no documentation tests. Plain cargo does all of it.
test:
	@.ci/install-deps test
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		set -ex; \
		$(CARGO) nextest run --locked --workspace; \
		$(CARGO) test --locked --workspace --doc; \
	else \
		set -ex; \
		$(CARGO) test --locked --workspace; \
	fi

quick:
	$(CARGO) test --locked --lib $(or $(LAYER),plan)::

docs:
	$(CARGO) run --locked --quiet --bin streamrip -- reference docs/reference

fuzz:
	STREAMRIP_FUZZ_SECONDS=$(or $(FUZZ_SECONDS),300) $(CARGO) test --locked --test fuzz

playlists:
	STREAMRIP_PLAYLIST_SEEDS=$(or $(SEEDS),10000) $(CARGO) test --locked \
		--config 'profile.dev.package.streamrip.opt-level=2' --lib plan::hls::history

soak: export SOAK_MINUTES ?= 60
soak:
	@.ci/install-deps test
	$(CARGO) test --locked --test soak -- --nocapture

# Optimised, so that thousands of days pass in the time of a CI run.
simulate:
	STREAMRIP_SIM_SEEDS=$(or $(SEEDS),3000) $(CARGO) test --locked \
		--config 'profile.dev.package.streamrip.opt-level=2' --test simulator -- --nocapture

# Not part of CI: it fetches icalendar and recurring-ical-events into an environment of its own.
DIFF = $(TARGET)/diff-calendars
diff-calendars:
	@test -x $(DIFF)/bin/python || python3 -m venv $(DIFF)
	@$(DIFF)/bin/python -c 'import icalendar, recurring_ical_events' 2>/dev/null || \
		$(DIFF)/bin/pip install --quiet icalendar recurring-ical-events
	$(DIFF)/bin/python tests/import/differential/dates.py tests/fixtures schedules $(CALENDARS) >$(DIFF)/dates.jsonl
	STREAMRIP_DIFF_DATES=$(abspath $(DIFF)/dates.jsonl) $(CARGO) test --locked --test import calendars_agree -- --nocapture

bench:
	@.ci/install-deps bench
	$(CARGO) bench --locked

deb:
	@.ci/install-deps deb
	$(CARGO) build --locked --release
	@.ci/deb release

# A package of the development build: installed, upgraded, removed and purged, where root may do that (a test machine).
test-deb:
	@if [ "$$(id -u)" -ne 0 ] || ! command -v dpkg >/dev/null; then \
		echo "skipped: a package is installed by root, on Debian"; \
	else \
		set -e; \
		.ci/install-deps deb; \
		$(CARGO) build --locked; \
		rm -rf $(TARGET)/debian-test; \
		.ci/deb dev $(TARGET)/debian-test; \
		.ci/test-deb $(TARGET)/debian-test/*.deb; \
	fi

fmt:
	$(CARGO) fmt --all

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) run --locked --quiet -p streamrip-lab --bin licences

clean:
	$(CARGO) clean
