// Package disktest holds what the tests of disk and of the packages below it
// share: small files and directories, filesystems of their own, writers and
// readers as processes, and the count of lines that are left. Only tests import
// it.
package disktest
