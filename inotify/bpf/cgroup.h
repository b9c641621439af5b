/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Finds the cgroup that identifies the pod or unit of a process. The including
 * file defines READ(type, at, field), which reads a field of a kernel structure.
 */
#pragma once

static struct kernfs_node *parent_of(struct kernfs_node *node)
{
	if (bpf_core_field_exists(struct kernfs_node___before_6_15, parent))
		return BPF_CORE_READ((struct kernfs_node___before_6_15 *)node, parent);
	return READ(struct kernfs_node, node, __parent);
}

/* The cgroup of v2, or of the v1 memory controller where the process is in the
 * root of v2. */
static struct kernfs_node *cgroup_of(struct task_struct *task)
{
	struct css_set *set = READ(struct task_struct, task, cgroups);
	struct kernfs_node *node = READ(struct cgroup, READ(struct css_set, set, dfl_cgrp), kn);
	struct cgroup_subsys_state *css = 0;

	if (parent_of(node) || !bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id))
		return node;
	bpf_probe_read_kernel(&css, sizeof(css), (void **)&set->subsys + bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id));
	return READ(struct cgroup, READ(struct cgroup_subsys_state, css, cgroup), kn);
}
