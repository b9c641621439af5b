package sysctl

import "fmt"

// floorReason returns in one line why the floor of k has its value. v may come
// from the configuration.
func floorReason(k Key, v Value) string {
	if why, ok := floorReasons[k]; ok {
		return why
	}
	return fmt.Sprintf("the configuration asks for %d", int64(v))
}

var floorReasons = map[Key]string{
	MaxUserInstances:    "root's shims (2 for each pod), kubelet (about 50), systemd and collectors share one count, which the kernel sets to 128",
	MaxUserWatches:      "collectors watch each log file and directory; without a watch they silently miss new data",
	MaxQueuedEvents:     "a burst of rotations must fit while a collector stalls, or events are lost (IN_Q_OVERFLOW)",
	FileMax:             "the kernel's one file for each 10 KiB of memory is too few on a small node",
	EpollMaxUserWatches: "the kernel's 4% of memory is too few on a small node with many connections",
}

func reportReason(k Key) string {
	switch k {
	case NrOpen:
		return "reported only: raising it widens every LimitNOFILE=infinity, and programs that loop over all descriptors slow down"
	case UserMaxInstances, UserMaxWatches:
		return fmt.Sprintf("reported only: in the initial user namespace it is the same variable as %s", twins[k])
	}
	return "reported only, as the configuration says"
}

// impact describes for a user which failures to expect while k stays at v.
func impact(k Key, v Value) string {
	switch k {
	case MaxUserInstances, UserMaxInstances:
		return fmt.Sprintf("a collector started now fails with errno=24 (EMFILE) once root's %d instances are used", int64(v))
	case MaxUserWatches, UserMaxWatches:
		return fmt.Sprintf("past %d watches of a user a collector gets errno=28 (ENOSPC) and no longer sees new log files", int64(v))
	case MaxQueuedEvents:
		return fmt.Sprintf("a collector that falls %d events behind loses the rest (IN_Q_OVERFLOW) and must rescan", int64(v))
	case FileMax:
		return fmt.Sprintf("past %d open files on the whole node open, socket and inotify_init1 fail with errno=23 (ENFILE) for all but CAP_SYS_ADMIN", int64(v))
	case EpollMaxUserWatches:
		return fmt.Sprintf("past %d epoll registrations of a user epoll_ctl fails with errno=28 (ENOSPC)", int64(v))
	case NrOpen:
		return fmt.Sprintf("no process may raise its LimitNOFILE past %d", int64(v))
	case "fs.aio-max-nr":
		return fmt.Sprintf("past %d asynchronous requests io_setup fails with errno=11 (EAGAIN)", int64(v))
	case "vm.max_map_count":
		return fmt.Sprintf("past %d mappings mmap fails with errno=12 (ENOMEM); Elasticsearch refuses to start below 262144", int64(v))
	case "kernel.pid_max":
		return fmt.Sprintf("past %d processes and threads fork fails with errno=11 (EAGAIN)", int64(v))
	}
	return fmt.Sprintf("it stays at %d", int64(v))
}
