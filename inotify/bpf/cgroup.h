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

/* The id of a container has 64 digits, and is in the name of its cgroup. */
#define CONTAINER_ID 64
#define CONTAINER_DEPTH 16

static int in_container(struct kernfs_node *node)
{
	struct kernfs_node *parent;
	char name[CONTAINER_ID + 1];

	for (__u32 i = 0; i < CONTAINER_DEPTH; i++) {
		parent = parent_of(node);
		if (!parent)
			return 0;
		if (bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(node, name)) == sizeof(name))
			return 1;
		node = parent;
	}
	return 0;
}

/*
 * The cgroup of v2. Where controllers use cgroup v1 a runtime may leave a container
 * in a unit, or in the root, of v2: then it is that of the v1 memory controller.
 */
static struct kernfs_node *cgroup_of(struct task_struct *task)
{
	struct css_set *set = READ(struct task_struct, task, cgroups);
	struct kernfs_node *unified = READ(struct cgroup, READ(struct css_set, set, dfl_cgrp), kn), *memory;
	struct cgroup_subsys_state *css = 0;

	if (!bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id))
		return unified;
	bpf_probe_read_kernel(&css, sizeof(css), (void **)&set->subsys + bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id));
	memory = READ(struct cgroup, READ(struct cgroup_subsys_state, css, cgroup), kn);
	if (memory == unified || !parent_of(unified))
		return memory;
	return !in_container(unified) && in_container(memory) ? memory : unified;
}
