; Two modules side by side, for the tests.
offset = 0.4995   ; m
pixel  = 0.0002   ; m
p0/corner_x = -2
p0/corner_y = -256
p1/corner_x = 138
p1/corner_y = -250
