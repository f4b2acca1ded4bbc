"""Peak RSS per pixel, by mode and output format. usage: mem_probe.py MODE FORMAT SIDE"""
import sys, io, resource, os, threading, time
sys.path.insert(0,'.')
mode, fmt, side, infmt = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
import numpy as np, torch
from PIL import Image
torch.set_num_threads(1)
from service.imaging.codec import decode, encode, ImageFormat
from service.imaging.recompose import recompose
from service.imaging.upsample import reduce
def make(side):
    n={'L':1,'LA':2,'RGB':3,'RGBA':4,'CMYK':4}.get(mode)
    if mode=='I;16':
        im=Image.fromarray((np.random.rand(side,side)*65535).astype(np.uint16))
    elif mode=='P':
        im=Image.fromarray((np.random.rand(side,side)*255).astype(np.uint8)).convert('P')
    else:
        small=(np.random.rand(side//8,side//8,n)*255).astype(np.uint8)
        im=Image.fromarray(small.squeeze(),mode).resize((side,side),Image.BILINEAR)
    b=io.BytesIO(); im.save(b,infmt, **({'compress_level':1} if infmt=='PNG' else {})); return b.getvalue()
def rss():
    return int(open('/proc/self/statm').read().split()[1])*4096
def go(data):
    p=decode(data,10**9); c=reduce(p.lightness,224)
    rgb=recompose(p.lightness, torch.randn(2,224,224)*10,1.0)
    return encode(rgb,p.alpha,ImageFormat(fmt),90)
go(make(256))
data=make(side)
import ctypes; ctypes.CDLL('libc.so.6').malloc_trim(0)
base=rss(); peak=[0]; stop=threading.Event()
def watch():
    while not stop.is_set():
        peak[0]=max(peak[0],rss()); time.sleep(0.001)
t=threading.Thread(target=watch); t.start(); out=go(data); stop.set(); t.join()
print(mode, infmt, fmt, 'bytes/px', round((peak[0]-base)/side**2,1), 'answer', round(len(out)/side**2,2))
