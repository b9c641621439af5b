// Package openfiles has the types of what a walk through the kernel's descriptor
// tables shows of open files: who has which file of the log directories open, up to
// which offset, and who watches which file. It reads nothing itself.
package openfiles

import "time"

// Directory is a directory, by the number that its file system has in the kernel
// (s_dev, as unix.Mkdev encodes it) and its inode. The number is not that of stat(2) on
// btrfs.
type Directory struct{ Dev, Ino uint64 }

// MaxDirectories is the most directories that a walk compares with.
const MaxDirectories = 16

// Filter selects the files of a walk.
type Filter struct {
	// Below are the directories whose regular files are wanted, at any depth on the
	// same file system.
	Below []Directory
	// Programs are names whose processes are wanted, although they may have no such
	// file open.
	Programs []string
}

// Scan is what one walk found.
type Scan struct {
	Processes []Process
	// Files are those of the filter, and all regular files without a name.
	Files []File
	// Instances are the inotify instances, once for each process that holds one.
	Instances []Instance

	// AllProcesses is how many processes the walk saw.
	AllProcesses int
	// OmittedFiles is how many descriptors had no room.
	OmittedFiles int
	// UnreadInstances is how many instances are not in Instances, or without some of
	// their watches.
	UnreadInstances int
}

// Process has one of the files open, holds an instance, or has a wanted name.
type Process struct {
	PID      int    // in the pid namespace of the node
	Start    uint64 // in clock ticks after boot
	Comm     string
	Cgroup   string
	Terminal bool // it is controlled by a terminal, or has one as its input or output
}

// File is a descriptor of a regular file.
type File struct {
	Process     int // index of Scan.Processes
	FD          int
	Dev, Ino    uint64 // as in Directory
	OffsetBytes uint64
	SizeBytes   uint64
	Links       uint32
	Flags       int // of open(2)
	Atime       time.Time
}

// Instance is an inotify instance of a process.
type Instance struct {
	Process int // index of Scan.Processes
	// Watches are those on the file systems of the filter's directories. Several
	// processes can share the slice.
	Watches []Watch
}

// Watch is on a file or directory. SDev is s_dev as the kernel prints it for a watch:
// twenty bits of minor, where stat(2) has another encoding.
type Watch struct{ SDev, Ino uint64 }
