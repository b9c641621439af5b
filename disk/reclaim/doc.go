// Package reclaim frees space on filesystems that hold logs, the least valuable data
// first, and measures again after each step.
//
// Candidates are listed by name and size; Plan orders them without touching the
// host; each step is checked again on the open file before it is executed. Only
// the classes that the policy names are removed, and MaxFiles and MaxBytes bound
// one pass. It takes the capabilities of package rotate.
//
// It leaves images, containers and volumes to the kubelet. It never removes a
// file that a process writes to, and punches a hole only below the offset of
// every reader.
package reclaim
