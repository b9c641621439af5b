package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/coreos/go-systemd/v22/journal"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/config"
)

// Exit codes, the same for every command.
const (
	exitOK         = 0 // all in force; absent keys and warnings included
	exitUnmet      = 1 // something is not as wanted, and it was named
	exitUsage      = 2 // the command line or the configuration is wrong
	exitUnreadable = 3 // the input could not be read
)

// exitError carries the exit code of an error that is not a usage error. With
// a nil err nothing is printed: the report has the reason.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// errNotMet says that something is not as wanted, errInput that an input could
// not be read.
func errNotMet(err error) error { return &exitError{exitUnmet, err} }

func errInput(err error) error { return &exitError{exitUnreadable, err} }

// exitCode prints err, unless its report already did, and returns its code.
// What no command marked otherwise came from the flags or the configuration.
func exitCode(err error, stderr io.Writer) int {
	if err == nil {
		return exitOK
	}
	code := exitUsage
	if _, ok := errors.AsType[*config.ReadError](err); ok {
		code = exitUnreadable
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		code = e.code
		if e.err == nil {
			return code
		}
	}
	text := fmt.Sprintf("nodetune: %v", err)
	if toJournal(stderr) {
		text = prioritized(journal.PriErr, text)
	}
	fmt.Fprintln(stderr, text)
	return code
}
