# A guest of one sector: says on the serial console that it is up, echoes what is typed, and powers off at the power button.
#   q   powers off        r   resets        m   ignores the power button from now on
.code16
.globl _start
_start:
  cli                       # The BIOS would take what is typed, too.
  xor %ax, %ax
  mov %ax, %ds
  mov $message, %si
  mov $0x3f8, %dx
say:
  lodsb
  test %al, %al
  jz enable
  out %al, %dx
  jmp say
enable:
  mov $0x602, %dx           # PM1 enable: the power button
  mov $0x100, %ax
  out %ax, %dx
wait:
  mov $0x3fd, %dx
  in %dx, %al
  test $1, %al
  jnz typed
  mov $0x600, %dx           # PM1 status
  in %dx, %ax
  test $0x100, %ax
  jnz off
  jmp wait
typed:
  mov $0x3f8, %dx
  in %dx, %al
  out %al, %dx
  cmp $'q', %al
  je off
  cmp $'r', %al
  je reset
  cmp $'m', %al
  jne wait
  mov $0x602, %dx
  xor %ax, %ax
  out %ax, %dx
  jmp wait
reset:
  mov $0xcf9, %dx
  mov $2, %al
  out %al, %dx
  mov $6, %al
  out %al, %dx
  jmp .
off:
  mov $0x604, %dx           # PM1 control: S5
  mov $0x2000, %ax
  out %ax, %dx
  hlt
message:
  .asciz "tiny is up\r\n"
.org 510
.word 0xaa55
