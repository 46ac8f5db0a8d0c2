# Test layers.  Every tests/<layer>/*_test.c is a program of its own, linked with the harness and the rooms
# it tests; every tests/integration/*_test.py runs the real programs.
test_libs    := -lhiredis -lev -lmicrohttpd -lsystemd -lxxhash -lmsgpackc -lmariadb -lcurl -ljansson -lcrypto -lm -lpthread
test_rooms    = $(patsubst %.c,$B/%.o,$(filter-out %/main.c,$(wildcard producer/*.c worker/*.c reaper/*.c ctl/*.c)))
test_sources := $(wildcard tests/unit/*_test.c tests/script/*_test.c tests/sql/*_test.c)
TESTS        := $(test_sources:%.c=$B/%)

$B/rooms.a: $(test_rooms)
	@rm -f $@
	$(AR) rcs $@ $^
$(TESTS): $B/%: $B/%.o $(patsubst %.c,$B/%.o,$(wildcard tests/harness/*.c)) $B/rooms.a $B/shared.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(test_libs)

# Prints what rules are due, for the comparison with other implementations.
$B/tests/zones/due: $B/tests/zones/due.o $B/shared.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

$B/tests/bench/render: $B/tests/bench/render.o $B/shared.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lxxhash

# Makes a sender do what lines of JSON say, for the contract tests.
$B/tests/contract/ask: $B/tests/contract/ask.o $B/rooms.a $B/shared.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(test_libs)

tests: $(TESTS) $B/tests/zones/due $B/tests/bench/render $B/tests/contract/ask
.PHONY: tests

# --- what people type ----------------------------------------------------------------------------------
# The first run installs compilers and headers, so the build is a make of its own: it looks at them anew.
CORES   := $(shell nproc 2>/dev/null || echo 2)
SECONDS ?= 20

deps:
	@sh deploy/deps.sh
demo: deps
	@$(MAKE) --no-print-directory -s -j$(CORES) all
	@python3 deploy/demo/demo.py
test: deps
	@$(MAKE) --no-print-directory -s -j$(CORES) all tests
	@$(MAKE) --no-print-directory -s -j$(CORES) FAULTS=1 all
	@python3 tests/run.py $(only)
show-adopt: deps
	@$(MAKE) --no-print-directory -s -j$(CORES) all
	@python3 tests/integration/adopt_test.py show
# Servers from npm judge what the senders of known providers ask, and fail in every way.
contract: deps
	@$(MAKE) --no-print-directory -s -j$(CORES) all $B/tests/contract/ask
	@T_VERBOSE=1 python3 tests/contract/contract.py
	@T_VERBOSE=1 python3 tests/contract/webhooks.py
layers: all
	@python3 tests/layers.py $B
scenario-throughput scenario-pacing scenario-outage: scenario-%: deps
	@$(MAKE) --no-print-directory -s -j$(CORES) all
	@python3 tests/scenario/$*.py
bench-sources: deps
	@$(MAKE) --no-print-directory -s -j$(CORES) all
	@python3 tests/bench/sources.py
	@SQL_ROWS=10000000 T_VERBOSE=1 python3 tests/integration/sql_test.py
bench-render: deps
	@$(MAKE) --no-print-directory -s -j$(CORES) $B/tests/bench/render
	@$B/tests/bench/render
bench-receipts: deps
	@$(MAKE) --no-print-directory -s -j$(CORES) all
	@python3 tests/bench/receipts.py
show-zones: deps
	@$(MAKE) --no-print-directory -s -j$(CORES) all tests
	@python3 tests/integration/zones_test.py --all
show-scopes: deps
	@$(MAKE) --no-print-directory -s -j$(CORES) all tests
	@T_VERBOSE=1 python3 tests/integration/scopes_test.py only
show-receipts: deps
	@$(MAKE) --no-print-directory -s -j$(CORES) all tests
	@T_VERBOSE=1 python3 tests/integration/receipts_test.py a_whole_campaign
	@T_VERBOSE=1 python3 tests/integration/consent_test.py a_stop_stops
show-clocks: deps
	@$(MAKE) --no-print-directory -s -j$(CORES) all
	@T_VERBOSE=1 python3 tests/integration/clock_test.py
# Prints the tables of docs/providers.md anew, from the code's own.
docs: $B/tests/unit/provider_doc_test
	@DOCS_WRITE=1 $<
.PHONY: docs contract deps demo test show-adopt layers scenario-throughput scenario-pacing scenario-outage bench-sources bench-render bench-receipts show-zones show-clocks show-scopes show-receipts

# --- fuzzing: SECONDS for each target; corpora are kept in build-fuzz/corpus ---------------------------
FUZZERS := $(patsubst %.c,$B/%,$(wildcard tests/fuzz/fuzz_*.c))
$(FUZZERS): $B/%: $B/%.o $B/rooms.a $B/shared.a
	$(CC) $(CFLAGS) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(test_libs)
fuzzers: $(FUZZERS)
fuzz:
	@command -v clang >/dev/null || { echo "fuzz: needs clang and its fuzzer (apt install clang)"; exit 1; }
	@$(MAKE) --no-print-directory -s -j$(CORES) CC=clang SAN=fuzzer-no-link,address,undefined B=build-fuzz fuzzers
	@for f in $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c)); do \
	  mkdir -p build-fuzz/corpus/$$f; echo $$f; \
	  build-fuzz/tests/fuzz/$$f -max_total_time=$(SECONDS) -max_len=8192 -timeout=10 -verbosity=0 \
	    -artifact_prefix=build-fuzz/ build-fuzz/corpus/$$f || exit 1; done
.PHONY: fuzzers fuzz

# --- advice ---------------------------------------------------------------------------------------------
c_files = $(wildcard shared/*.[ch] producer/*.[ch] worker/*.[ch] reaper/*.[ch] ctl/*.[ch] tests/*/*.[ch])
check-format:
	@clang-format --dry-run --Werror $(c_files)
check-tidy:
	@clang-tidy --quiet $(filter %.c,$(c_files)) -- -std=c11 $(CPPFLAGS) $(MYSQL_CFLAGS)
.PHONY: check-format check-tidy
