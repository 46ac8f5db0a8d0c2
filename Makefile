# Paceline.  Two commands are all a newcomer needs:  make demo   and   make test
#
#   make              build everything into build/
#   make demo         install what is missing, build, run a whole campaign, print what happened
#   make test         install what is missing, build, run every test layer
#   make SAN=address,undefined   a sanitizer build in its own folder;  FAULTS=1 compiles fault points in
VERSION := 0.1.0
CFLAGS  ?= -O2 -g
W       := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
           -Wformat=2 -Wundef -Wvla -Wcast-qual -Wswitch-enum $(if $(WERROR),-Werror)
comma   := ,
B       := build$(if $(FAULTS),-faults)$(if $(SAN),-$(subst $(comma),+,$(SAN)))
HARDEN  := -fPIE -fstack-protector-strong $(if $(SAN),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
override CFLAGS   += -std=c11 $(W) $(HARDEN) $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer)
override CPPFLAGS += -D_GNU_SOURCE -DPACELINE_VERSION='"$(VERSION)"' -I. $(if $(FAULTS),-DPACELINE_FAULTS)
override LDFLAGS  += -pie -Wl,-z,relro,-z,now $(if $(SAN),-fsanitize=$(SAN))
MYSQL_CFLAGS := $(shell mysql_config --include 2>/dev/null | sed 's/-I/-isystem /g')

# What each program links is also the proof of its layers: the worker has no MySQL, producer and reaper no curl.
common_libs   := -lhiredis -lev -lmicrohttpd -lsystemd -lxxhash -lm -lpthread
producer_libs := $(common_libs) -lmsgpackc -lmariadb -ljansson
worker_libs   := $(common_libs) -lmsgpackc -lcurl -ljansson
reaper_libs   := $(common_libs) -lmariadb
ctl_libs      := $(common_libs) -lmsgpackc -lmariadb -ljansson -lcurl -lcrypto
PROGRAMS      := producer worker reaper ctl
bin_producer  := $B/bin/paceline-producer
bin_worker    := $B/bin/paceline-worker
bin_reaper    := $B/bin/paceline-reaper
bin_ctl       := $B/bin/paceline
BINS          := $(foreach p,$(PROGRAMS),$(bin_$p))
STUB          := $B/tests/provider-stub

CLOCK         := $B/tests/clock.so

all: $(BINS) $(STUB) $(CLOCK)

define program
$(bin_$1): $(patsubst %.c,$B/%.o,$(wildcard $1/*.c)) $B/shared.a
	@mkdir -p $$(@D)
	$$(CC) $$(CFLAGS) $$(LDFLAGS) -o $$@ $$^ $$($1_libs) $$(LDLIBS)
endef
$(foreach p,$(PROGRAMS),$(eval $(call program,$p)))

$B/shared.a: $(patsubst %.c,$B/%.o,$(wildcard shared/*.c)) $B/lua/scripts.o $B/deploy/sql/migrations.o $B/deploy/greetings.o $B/deploy/stop_words.o
	@rm -f $@
	$(AR) rcs $@ $^
$B/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(if $(filter shared/store.c,$<),$(MYSQL_CFLAGS)) $(CFLAGS) -MMD -MP -c -o $@ $<
$B/lua/scripts.c: lua/embed.awk $(sort $(wildcard lua/*.lua))
	@mkdir -p $(@D)
	awk -f $^ >$@.part && mv $@.part $@
$B/deploy/sql/migrations.c: deploy/sql/embed.awk $(sort $(wildcard deploy/sql/*.sql))
	@mkdir -p $(@D)
	awk -f $^ >$@.part && mv $@.part $@
$B/deploy/greetings.c: deploy/greetings.awk deploy/greetings.conf
	@mkdir -p $(@D)
	awk -f $^ >$@.part && mv $@.part $@
$B/deploy/stop_words.c: deploy/stop_words.awk deploy/stop_words.conf
	@mkdir -p $(@D)
	awk -f $^ >$@.part && mv $@.part $@
$B/lua/scripts.o $B/deploy/sql/migrations.o $B/deploy/greetings.o $B/deploy/stop_words.o: %.o: %.c
	$(CC) $(CPPFLAGS) $(CFLAGS) -Wno-overlength-strings -c -o $@ $<
$(STUB): $(patsubst %.c,$B/%.o,$(wildcard tests/stub/*.c)) $B/shared.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lev -lxxhash -lm
$(CLOCK): tests/tools/clock.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE $W -O2 -fPIC -shared -o $@ $<

clean:
	rm -rf build build-* run
include tests/tests.mk
.PHONY: all clean
-include $(shell find build* -name '*.d' 2>/dev/null)
