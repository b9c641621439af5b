package main

import "bytes"

// configFile is a configuration file that may change under the agent. It is
// polled: an agent that needs an inotify instance fails exactly when it is
// needed.
type configFile[C any] struct {
	read  func() ([]byte, error)
	parse func([]byte) (C, error)

	inForce []byte
	last    []byte // of the last poll
	refused error  // why what the file holds now is not in force
}

// verdict is what a poll found.
type verdict[C any] struct {
	config  C
	changed bool  // config is new and valid: put it in force
	mended  bool  // the file holds again what is in force
	refused error // the file cannot be read or is not valid, and was not already refused for this
}

// poll reads the file. What is valid and new is returned; what is not is
// refused, once, and the old configuration stays in force. A change counts only
// when two polls have seen the same bytes, since a file may be read between
// being truncated and being written, and half of a file may be valid; at once
// says that somebody has asked, and takes it as it is.
func (f *configFile[C]) poll(atOnce bool) verdict[C] {
	b, err := f.read()
	if err != nil {
		return f.refuse(err)
	}
	settled := atOnce || f.last != nil && bytes.Equal(b, f.last)
	f.last = b
	if bytes.Equal(b, f.inForce) {
		mended := f.refused != nil
		f.refused = nil
		return verdict[C]{mended: mended}
	}
	if !settled {
		return verdict[C]{}
	}
	config, err := f.parse(b)
	if err != nil {
		return f.refuse(err)
	}
	f.inForce, f.refused = b, nil
	return verdict[C]{config: config, changed: true}
}

func (f *configFile[C]) refuse(err error) verdict[C] {
	news := f.refused == nil || f.refused.Error() != err.Error()
	f.refused = err
	if !news {
		return verdict[C]{}
	}
	return verdict[C]{refused: err}
}

// watchConfig returns the configuration that the named file holds, and the file
// to poll for changes. Without a name there is nothing to poll: the file is nil.
func watchConfig(name string) (Config, *configFile[Config], error) {
	if name == "" {
		return defaultConfig(), nil, nil
	}
	cfg, err := loadConfigFile(name)
	if err != nil {
		return cfg, nil, err
	}
	file := &configFile[Config]{
		read:  func() ([]byte, error) { return readConfigFile(name) },
		parse: func(b []byte) (Config, error) { return parseConfig(b, name) },
	}
	v := file.poll(true)
	if v.refused != nil { // it changed since it was loaded
		return Config{}, nil, v.refused
	}
	return v.config, file, nil
}
