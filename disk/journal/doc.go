// Package journal reads how much each systemd unit has in the journal, and asks
// journald to rotate its files.
//
// It reads the headers and hash tables of journal files (systemd's "Journal File
// Format"), never an entry, and bounds the chains that it follows in a damaged
// file. Reading takes the group systemd-journal or CAP_DAC_READ_SEARCH. Rotation
// is a call of io.systemd.Journal.Rotate on journald's varlink socket, systemd
// 246, as root.
//
// It removes no journal file.
package journal
