package sysctl

import (
	"errors"
	"fmt"

	"github.com/nodetune/nodetune/internal/field"
)

func indexed(i int) string { return fmt.Sprintf("rules[%d]", i) }

func (r PolicyRule) validate() error {
	k, err := ParseKey(r.Key)
	if err != nil {
		return field.Errorf("key", "%v", err)
	}
	takes, err := lookup(k)
	if err != nil {
		if r.ReportOnly {
			return nil // looking is free
		}
		return field.Errorf("key", "%v", err)
	}
	var errs []error
	set := 0
	for _, v := range []struct {
		name  string
		value *Value
		isOp  bool
	}{{"atLeast", r.AtLeast, true}, {"exactly", r.Exactly, true}, {"ceiling", r.Ceiling, false}} {
		if v.value == nil {
			continue
		}
		if v.isOp {
			set++
		}
		errs = append(errs, checkValue(v.name, k, *v.value, takes))
	}
	if r.ReportOnly {
		set++
	}
	if set != 1 {
		errs = append(errs, field.Errorf("", "%s: want exactly one of atLeast, exactly and reportOnly", k))
	}
	return errors.Join(append(errs, r.validateTogether(k, takes))...)
}

func checkValue(name string, k Key, v Value, takes settable) error {
	switch {
	case v == 0:
		return field.Errorf(name, "0 would stop every new user of %s on the node: want 1 or more", k)
	case v < 0 || v > takes.max:
		return field.Errorf(name, "%d is outside what the kernel takes for %s: want 1 to %d", int64(v), k, int64(takes.max))
	}
	return nil
}

// validateTogether checks the fields that mean something only with another.
func (r PolicyRule) validateTogether(k Key, takes settable) error {
	var errs []error
	if r.Exactly != nil && !r.AllowLower {
		errs = append(errs, field.Errorf("exactly", "can lower %s under a running collector: set allowLower: true if that is wanted, or use atLeast", k))
	}
	if r.Exactly == nil && r.AllowLower {
		errs = append(errs, field.Errorf("allowLower", "does nothing without exactly: atLeast never lowers"))
	}
	if r.AtLeast == nil && r.Ceiling != nil {
		errs = append(errs, field.Errorf("ceiling", "does nothing without atLeast"))
	}
	if r.AtLeast != nil && r.Ceiling != nil && *r.Ceiling < *r.AtLeast {
		errs = append(errs, field.Errorf("ceiling", "%d is below atLeast, %d", int64(*r.Ceiling), int64(*r.AtLeast)))
	}
	switch {
	case r.MemoryPercent == 0:
	case r.MemoryPercent < 0 || r.MemoryPercent > 50 || r.MemoryPercent != r.MemoryPercent:
		errs = append(errs, field.Errorf("memoryPercent", "%v: want more than 0 and at most 50", r.MemoryPercent))
	case r.AtLeast == nil:
		errs = append(errs, field.Errorf("memoryPercent", "does nothing without atLeast"))
	case takes.unitBytes == 0:
		errs = append(errs, field.Errorf("memoryPercent", "what one unit of %s costs is not known: want it on fs.inotify.max_user_watches, user.max_inotify_watches or fs.epoll.max_user_watches", k))
	}
	return errors.Join(errs...)
}
