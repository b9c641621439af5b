package filesystem

// MountByID returns the mount with this id.
func MountByID(mounts []Mount, id int) (Mount, bool) { return mountByID(mounts, id) }

// IsOverlay reports whether stat(2) may return the device and inode of a file's layer
// and not those that the kernel has for the file.
func (m Mount) IsOverlay() bool { return m.fstype == "overlay" }
