# make demo    everything at once on this machine: private PostgreSQL, Auth0 emulator, reactor, server
# make test    formatting, lints and every test
# make bench   measure: commit to request, calls a change, idle memory
# make lint    formatting and lints alone
# make tools   install what these need and is missing; the others do it first
#
# ARGS go to the demo: make demo ARGS=--tour

CARGO ?= cargo

.PHONY: demo test bench lint tools

demo: tools
	$(CARGO) build --locked --bin roster
	$(CARGO) run --locked --quiet -- demo $(ARGS)

# Auth0's own clients are tried too.
test: TOOLS = --tests
test: lint
	$(CARGO) test --locked

bench: tools
	$(CARGO) bench --locked --bench '*'

lint: tools
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

tools:
	@deploy/install-tools.sh $(TOOLS)
