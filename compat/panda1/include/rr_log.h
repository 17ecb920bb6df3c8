/*
 * rr_log.h - where in the guest's execution we are
 *
 * Nothing is recorded or replayed here, but the count of guest instructions is exact in every callback, and the same
 * in every run of a deterministic program.
 */
#ifndef PANDA1_RR_LOG_H
#define PANDA1_RR_LOG_H

#include "cpu.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct RR_prog_point {
    uint64_t pc;
    uint64_t secondary; /* x86: ECX, as in PANDA */
    uint64_t guest_instr_count;
} RR_prog_point;

typedef enum { RR_OFF = 0, RR_RECORD, RR_REPLAY } RR_mode;

/* Instructions the guest has executed. Outside of callbacks: as of the last one. */
uint64_t rr_get_guest_instr_count(void);

/* PANDA 1 has a variable, PANDA 2 a function; either spelling works. */
extern RR_prog_point rr_prog_point;
RR_prog_point panda1_prog_point(void);
#define rr_prog_point() panda1_prog_point()

static inline int rr_in_replay(void) { return 0; }
static inline int rr_in_record(void) { return 0; }
static inline int rr_off(void) { return 1; }
static inline int rr_on(void) { return 0; }

#ifdef __cplusplus
}
#endif

#endif
