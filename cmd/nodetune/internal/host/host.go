// Package host names the mount points below which nodetune finds the kernel and
// the host's files.
package host

// Roots are the directories below which nodetune finds the kernel and the host:
// /proc, /sys and / unless the flags --path.* name others.
type Roots struct {
	Procfs string // procfs mount point
	Sysfs  string // sysfs mount point
	Rootfs string // /etc, /run, /var/log and /usr/lib are looked up below it
}
