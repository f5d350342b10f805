"""Sources of frames: sockets today, rings and capture files beside them."""
