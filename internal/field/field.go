// Package field names the place in a configuration that is wrong, so that the
// command line can add the line it stands on.
package field

import (
	"errors"
	"fmt"
	"strconv"
)

// Error is one wrong field. Path is written as in YAML, for example
// sysctl.rules[2].atLeast.
type Error struct {
	Path    string
	Problem string
}

func (e *Error) Error() string { return e.Path + ": " + e.Problem }

// Errorf returns an *Error for path.
func Errorf(path, format string, args ...any) error {
	return &Error{Path: path, Problem: fmt.Sprintf(format, args...)}
}

// All returns every *Error joined in err, in order. What is not an *Error is
// returned with an empty path, so that nothing is lost.
func All(err error) []*Error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*Error
		for _, e := range joined.Unwrap() {
			all = append(all, All(e)...)
		}
		return all
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return []*Error{e}
	}
	return []*Error{{Problem: err.Error()}}
}

// Under puts prefix before the path of every *Error in err: a policy does not
// know where in the configuration it stands.
func Under(prefix string, err error) error {
	var under []error
	for _, e := range All(err) {
		path := prefix
		switch {
		case e.Path == "":
		case e.Path[0] == '[':
			path += e.Path
		default:
			path += "." + e.Path
		}
		under = append(under, &Error{Path: path, Problem: e.Problem})
	}
	return errors.Join(under...)
}

// Index returns the path of element i of the list at path: sysctl.rules[2].
func Index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
