// Package logs finds log files, who writes them, who reads them, and how far behind
// each reader is.
//
// It lists directories by name and size and reads no log. Of compressed archives
// it reads all, once, to find those that are cut short. Readers are found in
// /proc/PID/fd, fdinfo and the inotify watches, which takes CAP_SYS_PTRACE;
// directories of other owners take CAP_DAC_READ_SEARCH.
//
// A log directory is taken for hostile: no link is followed, no mount is crossed,
// and the number of files, directories and rows is bounded. What was left out is
// counted.
package logs
