# Rules for PANDA 1 plugins: a plugin's Makefile sets PLUGIN_NAME and includes this as ../panda.mak.
#
#   make                              builds the plugin for every target in TARGET_DIRS
#   make TARGET_DIR=i386-linux-user   builds it for one
#   make V=1                          shows the commands
#   make PANDA_COMPAT_LEVEL=0         for sources of 2012, whose before_block_exec returns bool; 2: PANDA 2, void
#
# The library is TARGET_DIR/panda_NAME.so, with a link panda_NAME.so to the first target's. `host -panda NAME` takes
# the one for its guest.

ifeq ($(strip $(PLUGIN_NAME)),)
$(error set PLUGIN_NAME before panda.mak is included)
endif

PANDA1_DIR := $(patsubst %/,%,$(dir $(realpath $(lastword $(MAKEFILE_LIST)))))
PANDA1_LIBRARY := panda_$(PLUGIN_NAME).so

ifeq ($(origin TARGET_DIR),undefined)
TARGET_DIRS ?= x86_64-linux-user i386-linux-user
TARGET_DIR := $(firstword $(TARGET_DIRS))
PANDA1_OTHER_TARGETS := $(wordlist 2,$(words $(TARGET_DIRS)),$(TARGET_DIRS))
endif

# QEMU's names of the targets.
ifneq ($(filter x86_64-%,$(TARGET_DIR)),)
PANDA1_TARGET_FLAGS := -DTARGET_I386=1 -DTARGET_X86_64=1
else ifneq ($(filter i386-%,$(TARGET_DIR)),)
PANDA1_TARGET_FLAGS := -DTARGET_I386=1
else ifneq ($(filter arm-%,$(TARGET_DIR)),)
PANDA1_TARGET_FLAGS := -DTARGET_ARM=1
else
$(error there is no target $(TARGET_DIR): use x86_64-linux-user, i386-linux-user or arm-linux-user)
endif
ifneq ($(PANDA_COMPAT_LEVEL),)
PANDA1_TARGET_FLAGS += -DPANDA_COMPAT_LEVEL=$(PANDA_COMPAT_LEVEL)
endif

# What plugins' Makefiles use.
SRC_PATH := $(CURDIR)
TARGET_PATH := $(SRC_PATH)/$(TARGET_DIR)
PLUGIN_SRC_ROOT := $(abspath $(SRC_PATH)/..)
PLUGIN_TARGET_DIR := $(SRC_PATH)/$(TARGET_DIR)/panda_plugins
ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(origin CXX),default)
CXX := g++
endif
PANDA1_COMMON_FLAGS := -O2 -g -fPIC -Wall -D_GNU_SOURCE $(PANDA1_TARGET_FLAGS) \
	-I$(PANDA1_DIR)/include -I$(SRC_PATH) -I$(PLUGIN_SRC_ROOT)
QEMU_CFLAGS := -std=gnu99 $(PANDA1_COMMON_FLAGS)
QEMU_CXXFLAGS := $(PANDA1_COMMON_FLAGS)
LIBS := -Wl,-z,defs -lm

# $(call quiet-command,COMMAND,"TEXT") runs a command and shows the text instead.
#
# Where the recipe of the library is indented by spaces, as it is in copies of PANDA's manual, make reads it as text to
# expand. Then there is no target, and the usual recipe is made the library's.
quiet-command = $(if $@,$(if $(V),$1,@$(if $2,echo $2 && )$1),$(PANDA1_USUAL_RECIPE))
PANDA1_USUAL_RECIPE = $(eval $(PANDA1_LIBRARY): ; $$(call quiet-command,$$(CC) $$(QEMU_CFLAGS) -shared \
	-o $$(SRC_PATH)/$$(TARGET_DIR)/$$@ $$^ $$(LIBS),"  PLUGIN  $$@"))

# The library lies in TARGET_DIR, so make cannot tell how old it is: it is linked each time.
.DEFAULT_GOAL := all
.PHONY: all clean panda1-link $(PANDA1_LIBRARY) $(PANDA1_OTHER_TARGETS:%=panda1-%)
all: $(PANDA1_LIBRARY) $(PANDA1_OTHER_TARGETS:%=panda1-%) panda1-link

# The runtime is part of every plugin. What a plugin lacks is an error when it is linked, not when it is loaded.
PANDA1_RUNTIME := $(PLUGIN_TARGET_DIR)/$(PLUGIN_NAME).panda1.o
$(PANDA1_LIBRARY): $(PANDA1_RUNTIME)

$(PANDA1_RUNTIME): $(PANDA1_DIR)/runtime/runtime.c
	@mkdir -p $(@D)
	@$(CC) -std=gnu99 $(PANDA1_COMMON_FLAGS) -Wextra -fvisibility=hidden -MMD -MP \
		-DPANDA1_PLUGIN_NAME='"$(PLUGIN_NAME)"' -c -o $@ $<

vpath %.c $(SRC_PATH) $(PLUGIN_SRC_ROOT)
vpath %.cpp $(SRC_PATH) $(PLUGIN_SRC_ROOT)
vpath %.cc $(SRC_PATH) $(PLUGIN_SRC_ROOT)

$(PLUGIN_TARGET_DIR)/%.o: %.c
	@mkdir -p $(@D)
	$(call quiet-command,$(CC) $(QEMU_CFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<,"  CC    $@")

$(PLUGIN_TARGET_DIR)/%.o: %.cpp
	@mkdir -p $(@D)
	$(call quiet-command,$(CXX) $(QEMU_CXXFLAGS) $(CXXFLAGS) -MMD -MP -c -o $@ $<,"  CXX   $@")

$(PLUGIN_TARGET_DIR)/%.o: %.cc
	@mkdir -p $(@D)
	$(call quiet-command,$(CXX) $(QEMU_CXXFLAGS) $(CXXFLAGS) -MMD -MP -c -o $@ $<,"  CXX   $@")

$(PANDA1_OTHER_TARGETS:%=panda1-%): panda1-%:
	+@$(MAKE) --no-print-directory TARGET_DIR=$* $(PANDA1_LIBRARY)

panda1-link: $(PANDA1_LIBRARY)
	@ln -sf $(TARGET_DIR)/$(PANDA1_LIBRARY) $(PANDA1_LIBRARY)

clean:
	rm -rf $(TARGET_DIR) $(PANDA1_OTHER_TARGETS) $(PANDA1_LIBRARY)

# Directories that a Makefile's own rules write to.
$(shell mkdir -p $(PLUGIN_TARGET_DIR))
-include $(wildcard $(PLUGIN_TARGET_DIR)/*.d)
