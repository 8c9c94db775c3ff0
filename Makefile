# `make demo` and `make test` do everything, from a clean clone, as root, on Debian 12 with Rust.

.PHONY: demo test deps programs build clean

demo: build programs
	scripts/with-daemon scripts/demo

test: deps programs
	scripts/test

deps:
	scripts/install-deps

programs: deps
	scripts/fetch-programs

build: deps
	cargo build --release --locked

clean:
	cargo clean
	rm -rf .demo
