package flatpak

import (
	"testing"
	"testing/fstest"
)

const flatpakInfo = `[Application]
name=org.remmina.Remmina
runtime=runtime/org.gnome.Platform/x86_64/48

[Instance]
instance-id=269505497
instance-path=/home/ann/.var/app/org.remmina.Remmina
name=not this one

[Context]
shared=network;ipc;
`

func TestSandboxKnowsItsNameAndInstance(t *testing.T) {
	root := fstest.MapFS{
		".flatpak-info":       {Data: []byte(flatpakInfo)},
		"proc/self/mountinfo": {Data: []byte(mountinfo)},
	}
	s, ok := Inside(root)
	if !ok || s.AppID != "org.remmina.Remmina" || s.InstanceID != "269505497" {
		t.Errorf("got %+v, %v", s, ok)
	}
	if s.mounts["/tmp/.X11-unix/X7"] != "/.X11-unix/X7" {
		t.Errorf("mounts %v", s.mounts)
	}
}

func TestSandboxWithoutAnApplicationIsOneToo(t *testing.T) {
	root := fstest.MapFS{".flatpak-info": {Data: []byte("[Runtime]\nname=org.gnome.Platform\n")}}
	if s, ok := Inside(root); !ok || s.AppID != "" || s.InstanceID != "" {
		t.Errorf("got %+v, %v", s, ok)
	}
}

func TestHostIsNoSandbox(t *testing.T) {
	if s, ok := Inside(fstest.MapFS{"etc/passwd": {}}); ok {
		t.Errorf("got %+v", s)
	}
}
