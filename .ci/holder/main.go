// Command holder holds inotify instances and watches until it is killed. It
// stands in for a log collector in the pictures of the README.
//
//	holder INSTANCES DIRECTORY...    # each instance watches each directory
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if err := hold(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "holder:", err)
		os.Exit(1)
	}
	time.Sleep(time.Hour)
}

func hold(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("usage: holder INSTANCES DIRECTORY...")
	}
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	for range n {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if err != nil {
			return fmt.Errorf("inotify_init1: %w", err)
		}
		for _, dir := range args[1:] {
			if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE); err != nil {
				return fmt.Errorf("watch %s: %w", dir, err)
			}
		}
	}
	return nil
}
