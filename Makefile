# make demo    everything at once on this machine: private PostgreSQL, Auth0 emulator, reactor, server
# make test    formatting, lints and every test
# make bench   measure against a bare database and what others would use; BUILD=1 times builds from nothing as well
# make storm   changes and faults at random until N seeds (20) from SEED (1) have ended well; WHICH=storm::sabotage takes safeguards out
# make lint    formatting and lints alone
# make tools   install what these need and is missing; the others do it first
#
# ARGS go to the demo: make demo ARGS=--tour

CARGO ?= cargo
# Where each bench leaves its table.
BENCHED = $(or $(CARGO_TARGET_DIR),target)/tmp/bench

.PHONY: demo test bench storm lint tools

demo: tools
	$(CARGO) build --locked --bin roster
	$(CARGO) run --locked --quiet -- demo $(ARGS)

# Auth0's own clients are tried too.
test: TOOLS = --tests
test: lint
	$(CARGO) test --locked

# Servers written for Node.js and Python are measured beside Roster's.
bench: TOOLS = --tests
bench: tools
	rm -rf $(BENCHED)
	BUILD=$(BUILD) $(CARGO) bench --locked --bench '*'
	@for table in $(BENCHED)/*.md; do cat $$table; echo; done

storm: TOOLS = --tests
storm: tools
	STORM_SEED=$(or $(SEED),1) STORM_SEEDS=$(or $(N),20) \
		$(CARGO) test --locked --test it -- --nocapture $(or $(WHICH),storm::whatever)

lint: tools
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

tools:
	@deploy/install-tools.sh $(TOOLS)
