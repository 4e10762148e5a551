package fs

import "pairfs/replica"

// siteBackend is a [replica.Site] as the nodes see it: the methods that give out concrete types are wrapped, the others are the site's own.
type siteBackend struct{ *replica.Site }

var (
	_ backend     = siteBackend{}
	_ volume      = (*replica.Volume)(nil)
	_ eventReader = (*replica.EventReader)(nil)
	_ keptSet     = (*replica.KeptSet)(nil)
)

// Volumes returns all volumes.
func (s siteBackend) Volumes() []volume {
	all := s.Site.Volumes()
	list := make([]volume, len(all))
	for i, v := range all {
		list[i] = v
	}
	return list
}

// Volume finds a volume by name.
func (s siteBackend) Volume(name string) (volume, error) { return asVolume(s.Site.Volume(name)) }

// CreateVolume makes a volume of size 0.
func (s siteBackend) CreateVolume(name string) (volume, error) {
	return asVolume(s.Site.CreateVolume(name))
}

// asVolume keeps a nil pointer from becoming an interface that is not nil.
func asVolume(v *replica.Volume, err error) (volume, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}

// OpenKept opens a kept set.
func (s siteBackend) OpenKept(name string) (keptSet, error) {
	k, err := s.Site.OpenKept(name)
	if err != nil {
		return nil, err // no nil pointer in the interface
	}
	return k, nil
}

// Subscribe reads events.
func (s siteBackend) Subscribe(after uint64) eventReader { return s.Site.Subscribe(after) }

// SetInvalidate passes on which bytes of an open S-VOL were restored.
func (s siteBackend) SetInvalidate(f func(id uint64, off, n int64)) {
	s.Site.SetInvalidate(func(v *replica.Volume, off, n int64) { f(v.ID(), off, n) })
}
