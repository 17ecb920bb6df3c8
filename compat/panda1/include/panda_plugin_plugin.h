/*
 * panda_plugin_plugin.h - calls between plugins
 *
 * A plugin that offers the callback NAME has a type NAME_t, and
 *     PPP_PROT_REG_CB(NAME)       near its beginning, inside extern "C"
 *     PPP_CB_BOILERPLATE(NAME)    once
 *     PPP_RUN_CB(NAME, ...)       where the callback is to be made
 * Another plugin, in its init_plugin after the first one's:
 *     PPP_REG_CB("plugin", NAME, function)
 * A plugin that is unloaded while others still have its functions leaves them with nothing to call: unload those
 * first.
 */
#ifndef PANDA1_PANDA_PLUGIN_PLUGIN_H
#define PANDA1_PANDA_PLUGIN_PLUGIN_H

#include <assert.h>
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif

void *panda_get_plugin_by_name(const char *name);
/* The function of another plugin. When there is none, the calling plugin has failed, the log says why, and the result
 * is NULL. */
void *panda1_ppp_function(const char *plugin, const char *function);

#ifdef __cplusplus
}
#endif

#define PPP_MAX_CB 256

#define PPP_PROT_REG_CB(cb_name)                                                                                       \
    void ppp_add_cb_##cb_name(cb_name##_t fptr);                                                                       \
    void ppp_add_cb_##cb_name##_slot(cb_name##_t fptr, int slot_num);                                                  \
    bool ppp_remove_cb_##cb_name(cb_name##_t fptr);

#define PPP_CB_BOILERPLATE(cb_name)                                                                                    \
    cb_name##_t ppp_##cb_name##_cb[PPP_MAX_CB];                                                                        \
    int ppp_##cb_name##_num_cb = 0;                                                                                    \
    void ppp_add_cb_##cb_name##_slot(cb_name##_t fptr, int slot_num)                                                   \
    {                                                                                                                  \
        assert(slot_num >= 0 && slot_num < PPP_MAX_CB);                                                                \
        ppp_##cb_name##_cb[slot_num] = fptr;                                                                           \
        if (slot_num >= ppp_##cb_name##_num_cb)                                                                        \
            ppp_##cb_name##_num_cb = slot_num + 1;                                                                     \
    }                                                                                                                  \
    void ppp_add_cb_##cb_name(cb_name##_t fptr)                                                                        \
    {                                                                                                                  \
        ppp_add_cb_##cb_name##_slot(fptr, ppp_##cb_name##_num_cb);                                                     \
    }                                                                                                                  \
    bool ppp_remove_cb_##cb_name(cb_name##_t fptr)                                                                     \
    {                                                                                                                  \
        int ppp_index;                                                                                                 \
        for (ppp_index = 0; ppp_index < ppp_##cb_name##_num_cb; ppp_index++)                                           \
            if (ppp_##cb_name##_cb[ppp_index] == fptr) {                                                               \
                ppp_##cb_name##_cb[ppp_index] = NULL;                                                                  \
                return true;                                                                                           \
            }                                                                                                          \
        return false;                                                                                                  \
    }

#define PPP_RUN_CB(cb_name, ...)                                                                                       \
    {                                                                                                                  \
        int ppp_index;                                                                                                 \
        for (ppp_index = 0; ppp_index < ppp_##cb_name##_num_cb; ppp_index++)                                           \
            if (ppp_##cb_name##_cb[ppp_index] != NULL)                                                                 \
                ppp_##cb_name##_cb[ppp_index](__VA_ARGS__);                                                            \
    }

/* PANDA's check whether anybody listens. */
#define PPP_CHECK_CB(cb_name) (ppp_##cb_name##_num_cb != 0)

#define PPP_REG_CB(other_plugin, cb_name, cb_func)                                                                     \
    {                                                                                                                  \
        void (*ppp_add)(cb_name##_t) =                                                                                 \
            (void (*)(cb_name##_t))panda1_ppp_function(other_plugin, "ppp_add_cb_" #cb_name);                          \
        if (ppp_add)                                                                                                   \
            ppp_add(cb_func);                                                                                          \
    }

#define PPP_REMOVE_CB(other_plugin, cb_name, cb_func)                                                                  \
    {                                                                                                                  \
        bool (*ppp_remove)(cb_name##_t) =                                                                              \
            (bool (*)(cb_name##_t))panda1_ppp_function(other_plugin, "ppp_remove_cb_" #cb_name);                       \
        if (ppp_remove)                                                                                                \
            ppp_remove(cb_func);                                                                                       \
    }

#endif
