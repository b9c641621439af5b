package inotify

// ProcessDetail is one process with everything that decides which limit it
// reaches next.
type ProcessDetail struct {
	Process
	// Above has, for every user namespace that is in use, the accounts in the
	// namespaces above it that its instances are charged to as well.
	Above map[uint64][]Owner
	// FDsQuality is that of FDs: Unknown where they could not be counted.
	FDsQuality Quality
	// LowestFD is the lowest free descriptor, which the kernel gives out
	// next; -1 where it is not known.
	LowestFD int64
	// SysAdmin: it has CAP_SYS_ADMIN in our user namespace, which fs.file-max
	// does not hold for (alloc_empty_file in fs/file_table.c).
	SysAdmin bool
}

// Charged are the accounts that an instance that p creates now is charged to:
// its own, then the owners of the user namespaces above, the outermost last.
func (s ProcessDetail) Charged(p *Process) []Owner {
	return append([]Owner{{UserNS: p.UserNS, UID: p.UID}}, s.Above[p.UserNS]...)
}
