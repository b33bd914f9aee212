package hook

import (
	"os"

	"golang.org/x/sys/unix"
)

// scratchFile makes a file without a name.
func scratchFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("tunhook", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "output of a browser"), nil
}

// endScratch keeps the file from growing for as long as a browser lives, memfd_create(2): what that writes then fails.
func endScratch(file *os.File) { _, _ = unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_GROW) }
