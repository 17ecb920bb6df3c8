/*
 * group.c - what the PANDA plugins of a run share, and how they find each other
 *
 * The first plugin allocates the group and provides it as a service. When that plugin goes, the next one provides it.
 */
#include <dlfcn.h>

#include "panda_plugin_plugin.h"
#include "runtime.h"

#define GROUP_SERVICE "panda1.group/1"

static uint32_t provide(panda1_member *m)
{
    panda1.group->provider = m;
    return m->host->provide_service(m->host, m->self, panda1_text(GROUP_SERVICE), panda1.group);
}

bool panda1_group_join(void)
{
    const void *found = NULL;
    panda1_member **end;
    panda1_member *m = &panda1.member;
    m->size = (uint32_t)sizeof *m;
    m->name = PANDA1_PLUGIN_NAME;
    m->handle = panda1.handle;
    m->host = panda1.host;
    m->self = panda1.self;
    m->wants_insn = panda1_wants_insn;
    m->set_running = panda1_set_running;
    m->memcb_changed = panda1_memcb_changed;
    m->next = NULL;
    if (panda1.host->use_service(panda1.host, panda1.self, panda1_text(GROUP_SERVICE), (uint32_t)sizeof(panda1_group),
                                 &found)
        == PANDA_OK) {
        panda1.group = (panda1_group *)(uintptr_t)found;
    } else {
        panda1.group = g_new0(panda1_group, 1);
        panda1.group->size = (uint32_t)sizeof *panda1.group;
        if (provide(m) != PANDA_OK) {
            panda1_fail("the host does not let it meet other PANDA plugins (service %s)", GROUP_SERVICE);
            g_free(panda1.group);
            panda1.group = NULL;
            return false;
        }
        panda1_output_start(panda1.group);
    }
    for (end = &panda1.group->members; *end; end = &(*end)->next)
        ;
    *end = m;
    return true;
}

void panda1_group_leave(void)
{
    panda1_group *group = panda1.group;
    panda1_member **at;
    if (!group)
        return;
    for (at = &group->members; *at && *at != &panda1.member; at = &(*at)->next)
        ;
    if (*at)
        *at = panda1.member.next;
    group->insn_left = 0;
    if (!group->members) {
        panda1_output_end(group);
        g_free(group);
    } else if (group->provider == &panda1.member) {
        provide(group->members);
    }
    panda1.group = NULL;
}

/* In PANDA, insn_exec of every plugin runs when any plugin's insn_translate said yes. So all are asked on behalf of
 * each, and the answer is kept until every one has got it. */
uint32_t panda1_group_wants_insn(panda_cpu *cpu, uint64_t pc)
{
    panda1_group *group = panda1.group;
    if (group->insn_left == 0 || group->insn_pc != pc) {
        uint32_t askers = 0, wanted = 0;
        panda1_member *m;
        for (m = group->members; m; m = m->next)
            if (m->asks) {
                askers++;
                wanted |= m->wants_insn(cpu, pc);
            }
        group->insn_pc = pc;
        group->insn_left = askers;
        group->insn_wanted = wanted;
    }
    if (group->insn_left > 0)
        group->insn_left--;
    return group->insn_wanted;
}

static void set_memcb(uint32_t on)
{
    panda1_member *m;
    panda1.group->memcb = on;
    for (m = panda1.group->members; m; m = m->next)
        m->memcb_changed();
}

void panda_enable_memcb(void)
{
    set_memcb(1);
}

void panda_disable_memcb(void)
{
    set_memcb(0);
}

/* The plugin's name in `name`, which may be a path or file name. */
static panda_str plugin_name(const char *name)
{
    const char *slash = strrchr(name, '/');
    panda_str s = panda1_text(slash ? slash + 1 : name);
    if (s.len > 3 && !memcmp(s.ptr + s.len - 3, ".so", 3))
        s.len -= 3;
    if (s.len > 6 && !memcmp(s.ptr, "panda_", 6)) {
        s.ptr += 6;
        s.len -= 6;
    }
    return s;
}

static panda1_member *by_name(const char *name)
{
    const panda_str wanted = plugin_name(name);
    panda1_member *m;
    for (m = panda1.group->members; m; m = m->next)
        if (strlen(m->name) == wanted.len && !memcmp(m->name, wanted.ptr, wanted.len))
            return m;
    return NULL;
}

static panda1_member *by_handle(void *handle, const char *wish)
{
    panda1_member *m;
    for (m = panda1.group->members; m; m = m->next)
        if (m->handle == handle)
            return m;
    panda1_log(PANDA_ERROR, "there is no PANDA plugin with that handle to %s", wish);
    return NULL;
}

void *panda_get_plugin_by_name(const char *name)
{
    const panda1_member *m = by_name(name);
    return m ? m->handle : NULL;
}

bool panda_load_plugin(const char *filename)
{
    const panda_host_api *host = panda1.host;
    const panda_str name = strchr(filename, '/') ? panda1_text(filename) : plugin_name(filename);
    if (by_name(filename))
        return true;
    if (host->struct_size < offsetof(panda_host_api, load_plugin) + sizeof host->load_plugin || !host->load_plugin) {
        panda1_log(PANDA_ERROR, "%s is not loaded: this host loads plugins from its command line only; add -panda %s",
                   filename, filename);
        return false;
    }
    return host->load_plugin(host, panda1.self, name) == PANDA_OK;
}

/* PANDA ends when that fails. */
void panda_require(const char *name)
{
    if (!panda_load_plugin(name))
        panda1_fail("it needs the plugin %s, which cannot be loaded", name);
}

void *panda1_ppp_function(const char *plugin, const char *function)
{
    void *handle, *found;
    panda_require(plugin);
    handle = panda_get_plugin_by_name(plugin);
    found = handle ? dlsym(handle, function) : NULL;
    if (!handle)
        panda1_fail("the plugin %s is no PANDA plugin", plugin);
    else if (!found)
        panda1_fail("the plugin %s has no function %s", plugin, function);
    return found;
}

void panda_unload_plugin(void *plugin)
{
    panda1_member *m = by_handle(plugin, "unload");
    if (m)
        m->host->unload_self(m->host, m->self);
}

void panda_disable_plugin(void *plugin)
{
    panda1_member *m = by_handle(plugin, "disable");
    if (m)
        m->set_running(0);
}

void panda_enable_plugin(void *plugin)
{
    panda1_member *m = by_handle(plugin, "enable");
    if (m)
        m->set_running(1);
}
