package config

import (
	"bytes"
)

// File is a configuration file that may change under the agent. It is
// polled: an agent that needs an inotify instance fails exactly when it is
// needed.
type File[C any] struct {
	read  func() ([]byte, error)
	parse func([]byte) (C, error)

	inForce    []byte
	lastPolled []byte // of the last poll
	rejected   error  // why what the file holds now is not in force
}

// ReloadResult is what a poll found.
type ReloadResult[C any] struct {
	Config   C
	Changed  bool  // config is new and valid: put it in force
	Reverted bool  // the file holds again what is in force
	Err      error // the file cannot be read or is not valid, and was not already refused for this
}

// Poll reads the file. What is valid and new is returned; what is not is
// refused, once, and the old configuration stays in force. A change counts only
// when two polls have seen the same bytes, since a file may be read between
// being truncated and being written, and half of a file may be valid; at once
// says that somebody has asked, and takes it as it is.
func (f *File[C]) Poll(atOnce bool) ReloadResult[C] {
	b, err := f.read()
	if err != nil {
		return f.reject(err)
	}
	settled := atOnce || f.lastPolled != nil && bytes.Equal(b, f.lastPolled)
	f.lastPolled = b
	if bytes.Equal(b, f.inForce) {
		mended := f.rejected != nil
		f.rejected = nil
		return ReloadResult[C]{Reverted: mended}
	}
	if !settled {
		return ReloadResult[C]{}
	}
	config, err := f.parse(b)
	if err != nil {
		return f.reject(err)
	}
	f.inForce, f.rejected = b, nil
	return ReloadResult[C]{Config: config, Changed: true}
}

func (f *File[C]) reject(err error) ReloadResult[C] {
	news := f.rejected == nil || f.rejected.Error() != err.Error()
	f.rejected = err
	if !news {
		return ReloadResult[C]{}
	}
	return ReloadResult[C]{Err: err}
}

// Watch returns the configuration that the named file holds, and the file
// to poll for changes. Without a name there is nothing to poll: the file is nil.
func Watch(name string) (Config, *File[Config], error) {
	if name == "" {
		return Default(), nil, nil
	}
	cfg, err := Load(name)
	if err != nil {
		return cfg, nil, err
	}
	file := &File[Config]{
		read:  func() ([]byte, error) { return readFile(name) },
		parse: func(b []byte) (Config, error) { return Parse(b, name) },
	}
	v := file.Poll(true)
	if v.Err != nil { // it changed since it was loaded
		return Config{}, nil, v.Err
	}
	return v.Config, file, nil
}
